"""What the chosen posts are: ratings by source, scores, years, tags, and which tags go together; statistics.json.

Its size does not grow with the posts: columns of a histogram, some ranks of the tags, the company of a few.
"""

from bisect import bisect_right
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from enogu.core.records.posts import CATEGORIES, RATINGS

MOST_COMMON = 30  # tags told of each category
TOGETHER = 24  # general tags whose company is told
WIDEST = 0.95  # a tag that nearly all have says nothing of its company
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BARS = 30
SKEWED = 10  # times the median: where the top hundredth begins above that, bars double in width
RANKS = 40  # points of a tag's frequency over its rank
FEW = 5.0  # posts by which a count of both is drawn towards chance: a handful proves nothing
CHUNK = 1 << 18


def statistics(posts: pl.LazyFrame, read: pl.LazyFrame | None = None) -> dict[str, Any]:
    """Measure posts, and the ratings of all that they were chosen from; what has no values is left out."""
    kinds = [kind for kind in CATEGORIES if f"tags_{kind}" in posts.collect_schema()]
    tags = {kind: _frequency(posts, f"tags_{kind}") for kind in kinds}
    total = int(posts.select(pl.len()).collect().item())
    general = tags["general"].filter(pl.col("posts") < WIDEST * total).head(TOGETHER)["tag"].to_list()
    return {
        "posts": total,
        "ratings": _ratings(posts),
        "read": {} if read is None else _ratings(read),
        "years": _years(posts),
        "scores": {name: told for name in ("score", "fav_count", "aesthetic") if (told := _spread(posts, name))},
        "tags_per_post": _per_post(posts, kinds),
        "tags": {kind: _told(frame) for kind, frame in tags.items() if len(frame)},
        "together": _company(posts, general, total),
    }


def _ratings(posts: pl.LazyFrame) -> dict[str, dict[str, int]]:
    found = posts.group_by("source", "rating").len().collect().rows()
    sources = sorted({source or "" for source, _, _ in found})
    counts = {(source or "", rating): count for source, rating, count in found}
    return {source: {rating: counts.get((source, rating), 0) for rating in RATINGS} for source in sources}


def _years(posts: pl.LazyFrame) -> dict[str, int]:
    years = posts.select(year=pl.col("created_at").dt.year()).group_by("year").len().sort("year").collect()
    return {"unknown" if year is None else str(year): count for year, count in years.rows()}


def _spread(posts: pl.LazyFrame, name: str) -> dict[str, Any]:
    """Return quantiles by rating, and a histogram between the outermost hundredths."""
    value = pl.col(name).cast(pl.Float64)
    known = posts.select("rating", value).drop_nulls(name).collect(engine="streaming")
    if known.is_empty():
        return {}
    quantiles = [value.quantile(share, "nearest").alias(f"p{share * 100:.0f}") for share in QUANTILES]
    by_rating = known.group_by("rating").agg(posts=pl.len(), **{one.meta.output_name(): one for one in quantiles})
    values = known[name].to_numpy()
    edges = _edges(values, whole=name != "aesthetic")
    counts, _ = np.histogram(values, edges)
    rows = {row.pop("rating"): row for row in by_rating.sort("rating").to_dicts()}
    return {"by_rating": rows, "edges": edges, "counts": counts.tolist(), "beyond": len(known) - int(counts.sum())}


def _edges(values: np.ndarray, *, whole: bool) -> list[float]:
    low, middle, high = np.quantile(values, [0.01, 0.5, 0.99])
    if whole and high > SKEWED * max(middle, 1):
        return doubling(int(values.min()), int(values.max()))
    step = max((high - low) / BARS, 1.0 if whole else 1e-3)
    start, step = (np.floor(low), np.ceil(step)) if whole else (low, step)
    return [float(edge) for edge in np.arange(start, high + 2 * step, step)]


def doubling(least: int, most: int) -> list[float]:
    """Return ..., -3, -1, 0, 1, 2, 4, 8, ... from `least` to above `most`: whole numbers in steps that double."""
    edges = [*(1 - 2**power for power in range(62, 0, -1)), 0, *(2**power for power in range(63))]
    return [float(edge) for edge in edges[bisect_right(edges, least) - 1 : bisect_right(edges, most) + 1]]


def _per_post(posts: pl.LazyFrame, kinds: list[str]) -> dict[str, int]:
    number = pl.sum_horizontal(pl.col(f"tags_{kind}").list.len().fill_null(0) for kind in kinds)
    found = posts.group_by(tags=number).agg(posts=pl.len()).sort("tags").collect(engine="streaming")
    upto = found["posts"].cum_sum().to_numpy()
    places = {f"p{share * 100:.0f}": np.searchsorted(upto, share * upto[-1:]) for share in QUANTILES}
    return {name: int(found["tags"][int(place[0])]) if len(place) else 0 for name, place in places.items()}


def _frequency(posts: pl.LazyFrame, column: str) -> pl.DataFrame:
    """Return how many posts have each tag, the commonest first."""
    tags = posts.select(tag=pl.col(column).list.unique().explode(empty_as_null=False)).drop_nulls()
    return (
        tags.group_by("tag")
        .agg(posts=pl.len())
        .sort("posts", "tag", descending=[True, False])
        .collect(engine="streaming")
    )


def _told(tags: pl.DataFrame) -> dict[str, Any]:
    places = np.unique(np.geomspace(1, len(tags), RANKS).round().astype(np.int64)).tolist()
    return {
        "different": len(tags),
        "once": int((tags["posts"] == 1).sum()),
        "most_common": dict(tags.head(MOST_COMMON).rows()),
        "ranks": [[place, tags["posts"][place - 1]] for place in places],
    }


def _together(posts: pl.LazyFrame, tags: list[str]) -> np.ndarray:
    """Return how many posts have both of each two tags."""
    total, start = np.zeros((len(tags), len(tags)), np.int64), 0
    while tags:
        lists = posts.select("tags_general").slice(start, CHUNK).collect()
        if lists.is_empty():
            break
        has = lists.select(pl.col("tags_general").list.contains(tag).fill_null(False).alias(tag) for tag in tags)
        matrix = has.to_numpy().astype(np.float32)
        total += (matrix.T @ matrix).astype(np.int64)
        start += CHUNK
    return total


def _company(posts: pl.LazyFrame, tags: list[str], total: int) -> dict[str, Any]:
    both = _together(posts, tags)
    gain = lift(both, total)
    order = neighbours(gain)
    told = [values[np.ix_(order, order)] for values in (both, gain.round(2))]
    return {"tags": [tags[place] for place in order], "posts": told[0].tolist(), "lift": told[1].tolist()}


def lift(both: np.ndarray, posts: int) -> np.ndarray:
    """Return how much oftener two tags meet than if they knew nothing of each other, as a base-2 logarithm."""
    each = np.diag(both).astype(np.float64)
    return np.asarray(np.log2((both + FEW) / (each[:, None] * each[None, :] / max(posts, 1) + FEW)))


def neighbours(gain: np.ndarray) -> list[int]:
    """Return an order in which tags that keep the same company stand together, be it each other's or not.

    Average linkage (Sokal and Michener 1958) of the correlations between rows; of two groups the likest ends meet.
    """
    if len(gain) < 2:
        return list(range(len(gain)))
    others = np.where(np.eye(len(gain)), 0, gain)
    others = others - others.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(others, axis=1, keepdims=True)
    unit = np.divide(others, norm, out=np.zeros_like(others), where=norm > 0)
    like = unit @ unit.T
    groups = [[place] for place in range(len(gain))]
    while len(groups) > 1:
        a, b = max(combinations(groups, 2), key=lambda pair: like[np.ix_(*pair)].mean())
        ends = [(like[one[-1], other[0]], one + other) for one in (a, a[::-1]) for other in (b, b[::-1])]
        groups = [group for group in groups if group is not a and group is not b] + [max(ends)[1]]
    return groups[0]
