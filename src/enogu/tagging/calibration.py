"""Scores made comparable: percentiles on the maker's own posts, and which tags a scorer favours."""

from typing import Any

import polars as pl

from enogu.core.records.posts import CATEGORIES


def percentiles(scores: pl.DataFrame, level: str = "") -> pl.DataFrame:
    """Return (id, aesthetic): the share of posts with a lower score, equals counted half; within `level` if given.

    A scorer's numbers mean nothing by themselves (each has its own range and drift); ranks among the posts that are
    to be trained on do.
    """
    lower, equal = pl.col("score").rank("min") - 1, pl.col("score").rank("max") - pl.col("score").rank("min") + 1
    share = (lower + equal / 2) / pl.len()
    return scores.select("id", aesthetic=share.over(level) if level else share)


def bias(posts: pl.DataFrame, *, common: float) -> list[dict[str, Any]]:
    """Return the tags that at least a share `common` of posts have, with how far from 0.5 their mean percentile lies.

    A scorer that favours one hair colour writes that into every quality word: its maker should see it before.
    """
    scored = posts.filter(pl.col("aesthetic").is_not_null())
    long = scored.select(
        "aesthetic", tag=pl.concat_list(f"tags_{category}" for category in CATEGORIES).list.unique()
    ).explode("tag")
    table = long.drop_nulls("tag").group_by("tag").agg(posts=pl.len(), bias=pl.col("aesthetic").mean() - 0.5)
    table = table.filter(pl.col("posts") >= max(2, common * len(scored))).sort(
        pl.col("bias").abs(), "tag", descending=True
    )
    return table.to_dicts()
