"""Statistics against counts by hand."""

from collections import Counter
from itertools import product

import numpy as np
import polars as pl
import pytest

from enogu.core.records.posts import CATEGORIES
from enogu.posts.statistics import FEW, doubling, lift, neighbours, statistics


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
    assert told["tags_per_post"]["p95"] == sorted(len(one) for one in frame["tags_general"])[284]
    names = told["together"]["tags"]
    both = [[sum({one, other} <= have for have in tags) for other in names] for one in names]
    assert told["together"]["posts"] == both


def test_what_was_read_is_told_beside_what_was_chosen(frame):
    told = statistics(frame.filter(pl.col("rating") == "general").lazy(), frame.lazy())
    rows = frame.to_dicts()
    for source in ("danbooru", "e621"):
        counts = Counter(row["rating"] for row in rows if row["source"] == source)
        assert told["read"][source]["explicit"] == counts["explicit"] > told["ratings"][source]["explicit"] == 0
        assert told["read"][source]["general"] == counts["general"] == told["ratings"][source]["general"]


def test_the_frequency_of_tags_falls_from_the_first_to_the_last(frame):
    ranks = statistics(frame.lazy())["tags"]["general"]["ranks"]
    counts = sorted(Counter(tag for one in frame["tags_general"] for tag in set(one)).values(), reverse=True)
    assert ranks == [[place, count] for place, count in enumerate(counts, 1)]


@pytest.mark.parametrize(
    ("least", "most", "edges"),
    [(0, 5, [0, 1, 2, 4, 8]), (-4, 0, [-7, -3, -1, 0, 1]), (5, 8, [4, 8, 16]), (-1, -1, [-1, 0]), (1, 1, [1, 2])],
)
def test_edges_double_and_hold_the_outermost(least, most, edges):
    assert doubling(least, most) == edges


def test_a_long_tail_is_told_whole_in_bars_that_double(frame):
    scores = [int(score) for score in np.random.default_rng(0).pareto(1.2, 300) * 6]
    one = statistics(frame.with_columns(score=pl.Series(scores)).lazy())["scores"]["score"]
    assert one["beyond"] == 0
    bits = Counter(score.bit_length() for score in scores)
    assert dict(zip(map(int, one["edges"]), one["counts"], strict=False)) == {
        2 ** (bit - 1) if bit else 0: bits[bit] for bit in range(max(bits) + 1)
    }


def test_lift_is_how_much_oftener_than_by_chance_and_a_handful_proves_nothing():
    both = np.array([[4000, 2000, 0], [2000, 5000, 500], [0, 500, 1000]])
    found = lift(both, posts=10_000)
    for i, j in product(range(3), repeat=2):
        expected = both[i, i] * both[j, j] / 10_000
        assert found[i, j] == pytest.approx(np.log2((both[i, j] + FEW) / (expected + FEW)))
    assert found[0, 2] < -6  # 400 of 10,000 would be chance
    rare = lift(np.array([[2, 1], [1, 2]]), posts=10_000)
    assert abs(rare[0, 1]) < 0.3


def test_tags_of_the_same_company_stand_together():
    """Three colours that exclude each other go with three hats in any way, and three skies keep to themselves."""
    rng = np.random.default_rng(0)
    kinds = {"colour": [1, 4, 7], "hat": [0, 5, 6], "sky": [2, 3, 8]}
    has = np.zeros((4000, 9))
    for row in has:
        for kind in ("colour", "hat") if rng.random() < 0.5 else ("sky",):
            row[rng.choice(kinds[kind])] = 1
    order = neighbours(lift(has.T @ has, len(has)))
    assert sorted(order) == list(range(9))
    for places in kinds.values():
        found = sorted(order.index(place) for place in places)
        assert found[-1] - found[0] == 2


def test_no_posts_have_no_statistics_and_no_error(frame):
    told = statistics(frame.head(0).lazy())
    assert (told["posts"], told["years"], told["scores"], told["tags"]) == (0, {}, {}, {})
    assert told["together"] == {"tags": [], "posts": [], "lift": []}
