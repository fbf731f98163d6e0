"""Percentiles of a number among a post's peers: exact from counts, so that ten million posts take seconds."""

from dataclasses import dataclass

import polars as pl

SLICES = 12  # a moving window goes forward by a twelfth of its length


@dataclass(frozen=True, kw_only=True)
class Peers:
    """Whom a post is compared with."""

    percentile_within: tuple[str, ...]
    window_days: float | None = None
    half_life_days: float | None = None


def percentile(posts: pl.LazyFrame, peers: Peers) -> pl.LazyFrame:
    """Make each post's `value` the percentage of its peers with a lower one, ties counting half.

    A window is centred on the post's slice of time (Illustrious, arXiv 2409.19946, ranks within a moving window).
    """
    schema = posts.collect_schema()
    texts = [key for key in peers.percentile_within if schema[key] == pl.String]
    posts = posts.with_columns(pl.col(key).cast(pl.Categorical).alias(f"{key} code") for key in texts)  # short to hash
    codes = [f"{key} code" for key in texts]
    keys = [*codes, *(key for key in peers.percentile_within if key not in texts)]
    if peers.half_life_days:
        age = pl.col("created_at").max() - pl.col("created_at")
        halvings = age.dt.total_seconds() / (86400 * peers.half_life_days)
        posts = posts.with_columns(value=(pl.col("value") * (0.5**halvings)).round(2))
    if peers.window_days:
        width = peers.window_days * 86400 / SLICES
        posts = posts.with_columns(
            slice=(pl.col("created_at").dt.timestamp("ms") / (1000 * width)).floor().cast(pl.Int32)
        )
        posts = posts.with_columns(value=pl.when(pl.col("slice").is_not_null()).then("value"))
        keys.append("slice")
    counts = posts.filter(pl.col("value").is_not_null()).group_by(*keys, "value").agg(posts=pl.len())
    if peers.window_days:
        reach = pl.int_ranges(pl.col("slice") - SLICES // 2, pl.col("slice") + SLICES // 2 + 1, dtype=pl.Int32)
        counts = counts.with_columns(slice=reach).explode("slice", empty_as_null=False)
        counts = counts.group_by(*keys, "value").agg(pl.col("posts").sum())
    number = pl.col("posts").cast(pl.Float64)
    lower, whole = number.cum_sum() - number / 2, number.sum()
    if keys:
        lower, whole = lower.over(keys), whole.over(keys)
    shares = counts.sort(*keys, "value").select(*keys, "value", percent=lower / whole * 100)
    joined = posts.join(shares, on=[*keys, "value"], how="left", nulls_equal=True)
    return joined.with_columns(value="percent").drop("percent", *codes, *(["slice"] if peers.window_days else []))
