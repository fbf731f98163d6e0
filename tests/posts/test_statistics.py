"""Statistics against counts by hand."""

from collections import Counter
from itertools import product

import numpy as np
import polars as pl
import pytest

from enogu.core.records.posts import CATEGORIES
from enogu.posts.statistics import lift, statistics


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    rows = [
        {
            "source": str(rng.choice(["danbooru", "e621"])),
            "rating": str(rng.choice(["general", "explicit"])),
            "created_at": f"{rng.integers(2010, 2014)}-05-05T00:00:00+00:00" if rng.random() < 0.9 else None,
            "score": int(rng.integers(-3, 90)),
            "fav_count": None,
            "aesthetic": None,
            **{f"tags_{kind}": [] for kind in CATEGORIES},
            "tags_general": rng.choice(["a", "b", "c", "d"], rng.integers(0, 4)).tolist(),
        }
        for _ in range(300)
    ]
    lists = {f"tags_{kind}": pl.List(pl.String) for kind in CATEGORIES}
    made = pl.DataFrame(rows, schema_overrides={**lists, "fav_count": pl.Int64, "aesthetic": pl.Float64})
    return made.with_columns(created_at=pl.col("created_at").str.to_datetime(time_zone="UTC"))


def test_counts_are_those_by_hand(frame):
    told, rows = statistics(frame.lazy()), frame.to_dicts()
    assert told["posts"] == 300
    pairs = Counter((row["source"], row["rating"]) for row in rows)
    assert {(s, r): n for s, one in told["ratings"].items() for r, n in one.items() if n} == pairs
    assert told["years"] == Counter(str(row["created_at"].year) if row["created_at"] else "unknown" for row in rows)
    assert list(told["scores"]) == ["score"]
    of_explicit = sorted(row["score"] for row in rows if row["rating"] == "explicit")
    assert told["scores"]["score"]["by_rating"]["explicit"]["p50"] == pytest.approx(np.median(of_explicit), abs=1)
    counts = told["scores"]["score"]["counts"]
    assert sum(counts) + told["scores"]["score"]["beyond"] == 300
    tags = [set(row["tags_general"]) for row in rows]
    assert told["tags"]["general"]["most_common"] == Counter(tag for one in tags for tag in one)
    names = told["together"]["tags"]
    both = [[sum({one, other} <= have for have in tags) for other in names] for one in names]
    assert told["together"]["posts"] == both


def test_lift_is_how_much_oftener_than_by_chance():
    together = {"tags": ["a", "b", "c"], "posts": [[40, 20, 0], [20, 50, 5], [0, 5, 10]]}
    found = lift(together, posts=100)
    each = (40, 50, 10)
    for i, j in product(range(3), repeat=2):
        expected = together["posts"][i][j] * 100 / (each[i] * each[j])
        assert found[i, j] == (pytest.approx(np.log2(expected)) if expected else -8.0)


def test_no_posts_have_no_statistics_and_no_error(frame):
    told = statistics(frame.head(0).lazy())
    assert (told["posts"], told["years"], told["scores"], told["tags"]) == (0, {}, {}, {})
