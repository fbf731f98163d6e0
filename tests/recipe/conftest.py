"""Recipes over the pretend rooms."""

from collections.abc import Callable
from pathlib import Path

import pytest

from enogu.recipe.config import Recipe
from enogu.recipe.reading import read
from tests import pretend

Reader = Callable[..., Recipe]


@pytest.fixture
def recipe(tmp_path: Path) -> Reader:
    """Return a function that writes TOML to a file and reads it as a recipe."""

    def write_and_read(text: str, *, mini: bool = False, settings: tuple[str, ...] = ()) -> Recipe:
        path = tmp_path / "recipe.toml"
        path.write_text('[recipe]\nname = "test"\n' + text)
        return read(path, mini=mini, settings=settings, kinds=pretend.KINDS)

    return write_and_read
