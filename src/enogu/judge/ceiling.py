"""The tagger's ceiling: how often it finds the same tags in held-out real drawings that do show them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from enogu.core.networks.tagger import Tagger
from enogu.core.records.posts import CATEGORIES, read_manifest
from enogu.core.records.progress import Progress
from enogu.judge.adherence import canonical, sightings


def tag_ceilings(
    tagger: Tagger, posts: Path, tags: Sequence[str], *, rows: Sequence[int], progress: Progress
) -> dict[str, dict[str, Any]]:
    """Return, per tag, recall where posts carry it, false alarms where they do not, and how many carry it."""
    manifest = read_manifest(posts)
    seen = sightings(tagger, [manifest.image(row) for row in rows], progress)
    carried = [_tags_of(manifest.frame.row(row, named=True)) for row in rows]
    return {tag: _rates(seen[:, tagger.names.index(tag)], np.array([tag in of for of in carried])) for tag in tags}


def ceilings(
    tags: Mapping[str, Mapping[str, Any]], found: pl.DataFrame, groups: Mapping[str, frozenset[str]]
) -> dict[str, float]:
    """Return the recall a perfect model would score, per measure: tags weighed as the prompts weigh them."""
    best = {tag: rates["recall"] for tag, rates in tags.items() if rates["posts"]}
    chosen = {"recall": frozenset(best), **{f"recall.{name}": of for name, of in groups.items()}}
    result = {}
    for measure, of in chosen.items():
        rows = found.filter(pl.col("tag").is_in(of & best.keys()))
        if len(rows):
            weighed = rows.with_columns(pl.col("tag").replace_strict(best, return_dtype=pl.Float64).alias("best"))
            result[measure] = float(weighed.group_by("image").agg(pl.col("best").mean())["best"].to_numpy().mean())
    return result


def _rates(seen: np.ndarray[Any, np.dtype[np.bool_]], carried: np.ndarray[Any, np.dtype[np.bool_]]) -> dict[str, Any]:
    return {
        "posts": int(carried.sum()),
        "recall": float(seen[carried].mean()) if carried.any() else None,
        "false_alarms": float(seen[~carried].mean()) if not carried.all() else None,
    }


def _tags_of(post: Mapping[str, Any]) -> set[str]:
    return {canonical(tag) for category in CATEGORIES for tag in post[f"tags_{category}"] or ()} | {post["rating"]}
