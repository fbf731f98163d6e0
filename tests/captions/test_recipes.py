"""The makers' recipes of docs/captions.md, held to the captions that the page shows for them."""

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from enogu.captions.config import CaptionsConfig
from enogu.captions.reading import reader
from enogu.captions.stage import run
from enogu.core.records.job import Job
from enogu.recipe.parse import build

from .conftest import post

PAGE = (Path(__file__).parents[2] / "docs" / "captions.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^### ([^\n]+)\n.*?```toml\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
POST = post(
    6_000_000,
    created_at=datetime(2023, 3, 9, tzinfo=UTC),
    score=120,
    fav_count=90,
    aesthetic=6.2,
    tags_general=["1girl", "cherry_blossoms", "long_hair", "smile", "solo", "^_^"],
    tags_meta=["absurdres", "commentary_request", "highres"],
    caption="A girl with long blue hair smiles under cherry blossoms.",
)


@pytest.mark.parametrize(("name", "recipe", "captions"), SHOWN, ids=[name for name, *_ in SHOWN])
def test_a_recipe_gives_what_the_page_shows(tmp_path, posts_folder, name, recipe, captions):
    ((stage, table),) = tomllib.loads(recipe)["captions"].items()
    config = build(CaptionsConfig, table, f"captions.{stage}")
    run(config, Job(out=tmp_path / "out", inputs={"posts": {"p": posts_folder([POST])}}))
    read = reader(tmp_path / "out", 0)
    shown = dict(line.split(": ", 1) for line in captions.splitlines())
    assert {set: read.plain(6_000_000, set) for set in read.sets} == shown


def test_the_page_shows_all_four():
    assert [name for name, *_ in SHOWN] == ["AnimeBoysXL", "Kohaku XL", "Myne Factory", "6DammK9's second run"]
