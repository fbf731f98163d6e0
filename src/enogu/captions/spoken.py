"""Tags as they are said: underscores to spaces, brackets escaped, and which tags match a pattern."""

import re
import tomllib
from collections.abc import Collection, Sequence
from functools import cache
from importlib.resources import files


def spoken(tag: str, *, underscores: bool = False, escape: bool = False, faces: Collection[str] = ()) -> str:
    """Return a tag with spaces for underscores, unless it is a face; with its brackets escaped if prompts need it."""
    said = tag if underscores or tag in lists()["kaomoji"] or tag in faces else tag.replace("_", " ")
    return re.sub(r"([()])", r"\\\1", said) if escape else said


def matching(patterns: Sequence[str]) -> re.Pattern[str]:
    """Return a pattern for any of these tags; the one wildcard is *, since ?, [ and ] are part of real tags."""
    tags = [pattern.strip().replace(" ", "_") for pattern in patterns]
    return re.compile("|".join(".*".join(re.escape(part) for part in tag.split("*")) for tag in tags) or r"(?!)")


@cache
def lists() -> dict[str, tuple[str, ...]]:
    """Return the lists of data/tags.toml."""
    raw = tomllib.loads((files(__package__) / "data" / "tags.toml").read_text("utf-8"))
    return {name: tuple(tags) for name, tags in raw.items()}
