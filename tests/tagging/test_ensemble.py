"""Taggers of the drawn booru as an ensemble: from training to agreement with what was drawn, counted by hand."""

import json
from pathlib import Path

import polars as pl
import pytest

from enogu.core.records.errors import Refused
from enogu.core.records.job import Job
from enogu.core.records.posts import CATEGORIES, RATINGS, read_manifest
from enogu.mini.config import BooruConfig, TaggerConfig
from enogu.mini.stage import run_booru, run_tagger
from enogu.posts.config import PostsConfig, Where
from enogu.posts.stage import run as run_posts
from enogu.tagging.agreement import agreement
from enogu.tagging.config import SightingsConfig, TaggedConfig
from enogu.tagging.stage import run_sightings, run_tagged

POSTS = 12
MEMBERS = {"narrow": (0.25, 1), "middle": (0.3, 2), "wide": (0.4, 3)}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a booru, three barely trained taggers and what they see."""
    root = tmp_path_factory.mktemp("ensemble")
    for name, (width, seed) in MEMBERS.items():
        config = TaggerConfig(pictures=64, held_out=48, epochs=2, batch=16, side=32, width=width, seed=seed)
        run_tagger(config, Job(out=root / name, threads=1))
    run_booru(BooruConfig(posts=POSTS, novel=0.2, long_side=(64, 80)), Job(out=root / "booru", threads=1))
    chosen = PostsConfig(booru="b", where=Where(rating=RATINGS))
    run_posts(chosen, Job(out=root / "posts", inputs={"booru": {"b": root / "booru"}}, threads=1))
    inputs = {"posts": {"p": root / "posts"}, "taggers": {name: root / name for name in MEMBERS}}
    looking = SightingsConfig(posts="p", taggers=tuple(MEMBERS), floor=0.0)
    run_sightings(looking, Job(out=root / "seen", inputs=inputs, threads=1))
    return root


def tagged(root: Path, **settings: object) -> tuple[set[tuple[int, str]], dict[str, float]]:
    """Return the pairs (post, tag) that models see, and what the stage says of their agreement."""
    config = TaggedConfig(posts="p", sightings="s", tags="models", overlaps=True, **settings)  # type: ignore[arg-type]
    out = root / "-".join(map(str, settings.values()))
    inputs = {"posts": {"p": root / "posts"}, "sightings": {"s": root / "seen"}}
    summary = run_tagged(config, Job(out=out, inputs=inputs))
    rows = read_manifest(out).frame.iter_rows(named=True)
    return {(row["id"], tag) for row in rows for kind in CATEGORIES for tag in row[f"tags_{kind}"]}, summary[
        "against_site"
    ]["all"]


def test_ensembles_of_three_made_taggers(three: Path) -> None:
    alone = {name: tagged(three, taggers=(name,)) for name in MEMBERS}
    assert len({frozenset(pairs) for pairs, _ in alone.values()}) == 3  # seeds and widths tell them apart
    together = {how: tagged(three, ensemble=how) for how in ("union", "vote", "mean", "max")}
    everyone = [pairs for pairs, _ in alone.values()]
    assert together["union"][0] == set.union(*everyone)
    assert together["vote"][0] == {
        pair for pair in set.union(*everyone) if sum(pair in one for one in everyone) >= len(everyone) / 2
    }
    names = {line.split(",")[1] for line in (three / "wide" / "selected_tags.csv").read_text().splitlines()[1:]}
    lines = map(json.loads, (three / "booru" / "posts.jsonl").read_text().splitlines())
    truth = {(row["id"], tag) for row in lines for tag in row["tag_string"].split() if tag in names}
    for pairs, said in (*alone.values(), *together.values()):
        assert said["recall"] == pytest.approx(len(pairs & truth) / len(truth), abs=1e-4)
        assert said["precision"] == pytest.approx(len(pairs & truth) / len(pairs), abs=1e-4)


def test_a_member_that_did_not_look_is_answered_with_the_nearest(three: Path) -> None:
    with pytest.raises(Refused, match="did you mean 'narrow'"):
        tagged(three, taggers=("narow",))


def test_agreement_is_of_known_tags_and_pictures_that_were_seen() -> None:
    posts = pl.DataFrame(
        {
            "tags_general": [["a", "b", "unknown"], ["a"], ["a", "b"]],
            "seen_general": [["a", "c"], ["a"], None],
            "tags_artist": [[], [], ["x"]],
            "seen_artist": [[], [], None],
        }
    )
    found = agreement(posts, {"general": ["a", "b", "c"], "artist": ["x"]})
    assert found == {kind: {"recall": 0.6667, "precision": 0.6667} for kind in ("general", "all")}
    assert agreement(posts, {}) == {}
