"""The statistics of posts as pictures: what stands in the drawing is what was counted."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from enogu.core.records.files import write_json
from enogu.core.records.posts import CATEGORIES, MANIFEST_SCHEMA
from enogu.judge.report.bars import along
from enogu.judge.report.charts import Chart
from enogu.judge.report.folders import Finished
from enogu.judge.report.statistics import Statistics, statistics
from enogu.judge.report.svg import decades
from enogu.posts.statistics import statistics as counted


def posts(number: int = 400) -> pl.DataFrame:
    """Return posts of two sources; cat and paws go together, cat and dog never."""
    rng, rows = np.random.default_rng(0), []
    for post in range(number):
        row: dict[str, Any] = dict.fromkeys(MANIFEST_SCHEMA)
        tags = ["cat", "paws"] if post % 2 else ["dog"]
        row |= {"id": post, "source": ("danbooru", "e621")[post % 4 == 0], "image": "",
                "rating": str(rng.choice(["general", "explicit"], p=[0.75, 0.25])), "score": int(rng.pareto(1) * 9),
                "created_at": datetime(2008 + post % 9, 5, 5, tzinfo=UTC) if post % 10 else None,
                **{f"tags_{kind}": [] for kind in CATEGORIES}, "tags_general": [*tags, f"tag<{post % 50}>"],
                "tags_artist": [f"artist_{int(post**0.5)}"]}  # fmt: skip
        rows.append(row)
    return pl.DataFrame(rows, schema=MANIFEST_SCHEMA, orient="row")


def drawn(folder: Path, chosen: pl.DataFrame, read: pl.DataFrame) -> Statistics:
    """Return the pictures of some posts."""
    write_json(folder / "statistics.json", counted(chosen.lazy(), read.lazy()))
    about: dict[str, Any] = {"kind": "posts", "name": "p", "hash": "", "seconds": 1.0, "started": "", "summary": {}}
    return statistics(Finished(folder=folder, id="posts.p", inputs={}, settings={}, **about))


def titles(chart: Chart) -> list[str]:
    """Return what a pointer reads over the parts of a drawing, which is whole XML."""
    return [element.text or "" for element in ElementTree.fromstring(chart.svg).iter("title")]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Chart]:
    """Return the charts of general posts among all, by title."""
    frame = posts()
    found = drawn(tmp_path_factory.mktemp("posts"), frame.filter(pl.col("rating") == "general"), frame)
    return {chart.title: chart for chart in (*found.small, *found.wide)}


def test_all_that_is_counted_has_a_picture(shown: dict[str, Chart]) -> None:
    assert list(shown) == ["Ratings by source", "Years", "Score", "Tags by rank", "Tags together"]


def test_ratings_are_told_of_what_was_read_and_of_what_was_chosen(shown: dict[str, Chart]) -> None:
    frame = posts()
    counts = frame.group_by("source", "rating").len().rows()
    expected = {f"{source}, read, {rating}: {count}" for source, rating, count in counts}
    expected |= {f"{source}, chosen, {rating}: {n}" for source, rating, n in counts if rating == "general"}
    assert {title.partition(" (")[0] for title in titles(shown["Ratings by source"])} == expected


def test_years_are_written_as_years(shown: dict[str, Chart]) -> None:
    words = re.findall(r">(\d{4})<", str(shown["Years"].svg))
    assert words == ["2008", "2010", "2012", "2014", "2016"]
    chosen = posts().filter(pl.col("rating") == "general")
    assert shown["Years"].note == f"{chosen['created_at'].null_count()} without a date."


def test_columns_are_as_high_as_their_counts(shown: dict[str, Chart]) -> None:
    bars = [element for element in ElementTree.fromstring(shown["Years"].svg) if element.tag == "rect"]
    counts = [int(bar[0].text.rpartition(" ")[2]) for bar in bars if bar[0].text]
    heights = [float(bar.attrib["height"]) for bar in bars]
    assert np.allclose(np.array(heights) / max(heights), np.array(counts) / max(counts), atol=1e-3)


def test_pairs_say_how_often_they_meet(shown: dict[str, Chart]) -> None:
    told = {frozenset(re.split(r" \+ |: ", title)[:2]): title for title in titles(shown["Tags together"])}
    chosen = posts().filter(pl.col("rating") == "general")
    cats = sum("cat" in tags for tags in chosen["tags_general"])
    assert f": {cats}, " in told[frozenset(("cat", "paws"))]
    assert ": 0, " in told[frozenset(("cat", "dog"))]
    names = len(ElementTree.fromstring(shown["Tags together"].svg).findall("text"))
    assert len(told) == names * (names - 1) / 2


def test_posts_with_hardly_anything_known_have_pictures_too(tmp_path: Path) -> None:
    bare = posts(3).with_columns(created_at=None, score=None, tags_general=[]).cast(pl.Schema(MANIFEST_SCHEMA))
    found = drawn(tmp_path, bare, bare)
    assert [chart.title for chart in (*found.small, *found.wide)] == ["Ratings by source", "Tags by rank"]
    assert [(top.kind, top.different) for top in found.tops] == [("artist", 2)]


def test_axes_write_whole_edges_or_powers() -> None:
    uneven = along("score", [-1, 0, 1, 2, 4, 8, 16])
    assert uneven.ticks(6) == tuple(
        (float(place), word) for place, word in enumerate(("-1", "0", "1", "2", "4", "8", "16"))
    )
    even = along("score", [0.0, 10.0, 20.0, 30.0])
    assert dict(even.ticks(6))[1.5] == "15"
    assert [word for _, word in decades("posts", 4321).ticks(6)] == ["1", "10", "100", "1k"]
    assert [word for _, word in decades("posts", 12).ticks(6)] == ["1", "2", "5", "10"]
