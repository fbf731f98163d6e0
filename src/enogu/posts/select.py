"""The query: gates and conditions in a fixed order, each counted, so that one sees where posts were lost."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from enogu.core.records.posts import CATEGORIES
from enogu.core.records.seed import derive
from enogu.posts.config import Where

Funnel = dict[str, int]  # how many posts were left after each step, in order


def select(posts: pl.LazyFrame, where: Where, *, seed: int) -> tuple[pl.DataFrame, Funnel]:
    """Return the chosen posts in order of id, and the funnel."""
    steps = conditions(where, seed)
    passed = posts.select(**{name: keep.fill_null(False) for name, keep in steps.items()}).collect()
    left = np.ones(len(passed), dtype=bool)
    funnel = {}
    for name in steps:
        left &= passed[name].to_numpy()
        funnel[name] = int(left.sum())
    chosen = posts.filter(pl.lit(pl.Series(left))).collect().sort("id")
    if where.sample is not None:
        chosen = chosen.sort(draws(chosen["id"], seed)).head(where.sample).sort("id")
        funnel["sample"] = len(chosen)
    return chosen, funnel


def conditions(where: Where, seed: int) -> dict[str, pl.Expr]:
    """Return each step of the funnel by name; a null answer keeps nobody."""
    tags = pl.concat_list(f"tags_{kind}" for kind in CATEGORIES)
    found: dict[str, pl.Expr | None] = {
        "valid and new id": (pl.col("id") >= 0) & pl.col("id").is_first_distinct(),
        "not deleted": None if where.deleted else ~pl.col("is_deleted"),
        "not banned": None if where.banned else ~pl.col("is_banned"),
        "not withheld": pl.col("image").is_not_null(),
        "rating": pl.col("rating").is_in(where.rating),
        "score_min": _at_least("score", where.score_min),
        "score_max": _at_most("score", where.score_max),
        "year": pl.col("created_at").dt.year().is_between(*where.year) if where.year else None,
        "tags_all": _all([_has(tags, pattern) for pattern in where.tags_all]),
        "tags_any": _any([_has(tags, pattern) for pattern in where.tags_any]),
        "tags_none": _all([~_has(tags, pattern) for pattern in where.tags_none]),
        "min_side": pl.min_horizontal("width", "height").fill_null(where.min_side) >= where.min_side,
        "max_pixels": (pl.col("width").cast(pl.Int64) * pl.col("height")).fill_null(0) <= where.max_pixels,
        "part": _part(*where.part, seed) if where.part != (0.0, 1.0) else None,
    }
    return {name: keep for name, keep in found.items() if keep is not None}


def draws(ids: pl.Series, seed: int) -> pl.Series:
    """Return a number in [0, 1) for each id, decided by the seed and the id alone (splitmix64, Steele et al. 2014)."""
    z = ids.to_numpy().astype(np.uint64) ^ np.uint64(derive(seed, "posts"))
    z = (z + np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return pl.Series((z ^ (z >> np.uint64(31))) >> np.uint64(11), dtype=pl.Float64) * 2.0**-53


def _at_least(column: str, least: int | None) -> pl.Expr | None:
    return None if least is None else pl.col(column) >= least


def _at_most(column: str, most: int | None) -> pl.Expr | None:
    return None if most is None else pl.col(column) <= most


def _all(parts: Sequence[pl.Expr]) -> pl.Expr | None:
    return pl.all_horizontal(parts) if parts else None


def _any(parts: Sequence[pl.Expr]) -> pl.Expr | None:
    return pl.any_horizontal(parts) if parts else None


def _has(tags: pl.Expr, pattern: str) -> pl.Expr:
    """Tell whether a post has a tag; the one wildcard is *, since ?, [ and ] are part of real tags."""
    pattern = pattern.strip().replace(" ", "_")
    if "*" not in pattern:
        return tags.list.contains(pattern)
    regex = ".*".join(pl.escape_regex(part) for part in pattern.split("*"))
    return tags.list.eval(pl.element().str.contains(f"^{regex}$")).list.any()


def _part(low: float, high: float, seed: int) -> pl.Expr:
    draw = pl.col("id").map_batches(lambda ids: draws(ids, seed), return_dtype=pl.Float64, is_elementwise=True)
    return (draw >= low) & (draw < high)
