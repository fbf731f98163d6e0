"""What the chosen posts are: ratings by source, scores, years, tags, and which tags go together; statistics.json."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from enogu.core.records.posts import CATEGORIES, RATINGS

MOST_COMMON = 30  # tags told of each category
TOGETHER = 24  # general tags whose company is told
WIDEST = 0.95  # a tag that nearly all have says nothing of its company
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BARS = 30
CHUNK = 1 << 18


def statistics(posts: pl.LazyFrame) -> dict[str, Any]:
    """Measure posts; what has no values is left out."""
    kinds = [kind for kind in CATEGORIES if f"tags_{kind}" in posts.collect_schema()]
    tags = {kind: _frequency(posts, f"tags_{kind}") for kind in kinds}
    total = int(posts.select(pl.len()).collect().item())
    general = tags["general"].filter(pl.col("posts") < WIDEST * total).head(TOGETHER)["tag"].to_list()
    return {
        "posts": total,
        "ratings": _ratings(posts),
        "years": _years(posts),
        "scores": {name: told for name in ("score", "fav_count", "aesthetic") if (told := _spread(posts, name))},
        "tags_per_post": _per_post(posts, kinds),
        "tags": {kind: _told(frame) for kind, frame in tags.items() if len(frame)},
        "together": {"tags": general, "posts": _together(posts, general).tolist()},
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
    low, high = np.quantile(known[name].to_numpy(), [0.01, 0.99])
    whole = name != "aesthetic"
    step = max((high - low) / BARS, 1.0 if whole else 1e-3)
    edges = np.arange(low, high + 2 * step, np.ceil(step) if whole else step)
    counts, _ = np.histogram(known[name].to_numpy(), edges)
    rows = {row.pop("rating"): row for row in by_rating.sort("rating").to_dicts()}
    return {
        "by_rating": rows,
        "edges": edges.tolist(),
        "counts": counts.tolist(),
        "beyond": len(known) - int(counts.sum()),
    }


def _per_post(posts: pl.LazyFrame, kinds: list[str]) -> dict[str, int]:
    count = pl.sum_horizontal(pl.col(f"tags_{kind}").list.len().fill_null(0) for kind in kinds)
    found = posts.select(*(count.quantile(share, "nearest").alias(f"p{share * 100:.0f}") for share in QUANTILES))
    return {name: int(value or 0) for name, value in found.collect(engine="streaming").to_dicts()[0].items()}


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
    return {
        "different": len(tags),
        "once": int((tags["posts"] == 1).sum()),
        "most_common": dict(tags.head(MOST_COMMON).rows()),
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


def lift(together: Mapping[str, Any], posts: int) -> np.ndarray:
    """Return how much oftener two tags meet than if they knew nothing of each other, as a base-2 logarithm."""
    both = np.array(together["posts"], dtype=np.float64).reshape(len(together["tags"]), -1)
    each = np.diag(both)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.log2(both * posts / (each[:, None] * each[None, :])), neginf=-8.0)
