"""Adherence: which of the tags that a prompt asks for does a tagger find in the picture?"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from enogu.core.networks.tagger import Tagger
from enogu.core.records.errors import Failed, Refused, unknown
from enogu.core.records.picture import PictureError, read_picture
from enogu.core.records.progress import Progress
from enogu.judge.intervals import Cells

CHUNK = 64  # pictures in memory at once
KEY = ["image", "model", "prompt_index", "seed"]


def canonical(tag: str) -> str:
    """Return a tag as taggers spell it: underscores, no escapes."""
    return tag.strip().replace("\\", "").replace(" ", "_")


def check_whole(samples: pl.DataFrame) -> None:
    """Fail where a model has not drawn every prompt with every seed: differences are taken cell by cell."""
    axes = [samples[name].unique().sort().to_list() for name in ("model", "prompt_index", "seed")]
    drawn = set(samples.select("model", "prompt_index", "seed").iter_rows())
    if missing := [cell for cell in product(*axes) if cell not in drawn]:
        model, prompt, seed = missing[0]
        raise Failed(f"the grid lacks {len(missing)} samples, as {model!r} at prompt {prompt}, seed {seed}")


def sightings(tagger: Tagger, paths: Sequence[Path], progress: Progress) -> NDArray[np.bool_]:
    """Return (pictures, tags): does the tagger see the tag, at that tag's threshold? Rows of bad files are False."""
    seen = np.zeros((len(paths), len(tagger.names)), np.bool_)
    for start in range(0, len(paths), CHUNK):
        part = paths[start : start + CHUNK]
        opened = {start + i: picture for i, path in enumerate(part) if (picture := _pixels(path)) is not None}
        seen[list(opened)] = tagger.probabilities(list(opened.values())) >= tagger.thresholds
        progress(start + len(part), len(paths), "pictures tagged")
    return seen


def asked_tags(samples: pl.DataFrame, tagger: Tagger) -> tuple[list[str], list[str]]:
    """Return the tags that prompts ask for: those the tagger knows, and those nobody can judge."""
    asked = sorted({canonical(tag) for tags in samples["tags"] for tag in tags})
    known = set(tagger.names)
    judged = [tag for tag in asked if tag in known]
    if not judged:
        raise Refused(f"the tagger knows none of the tags that the prompts ask for: {', '.join(asked) or 'none'}")
    return judged, [tag for tag in asked if tag not in known]


def check_groups(groups: Mapping[str, Iterable[str]], judged: Sequence[str]) -> dict[str, frozenset[str]]:
    """Return the groups in the tagger's spelling; refuse a tag that no prompt asks for or no tagger knows."""
    spelled = {name: frozenset(map(canonical, tags)) for name, tags in groups.items()}
    for tags in spelled.values():
        for tag in sorted(tags - set(judged)):
            raise unknown("tag in [judge] groups (among those that prompts ask for and the tagger knows)", tag, judged)
    return spelled


def hits(samples: pl.DataFrame, tagger: Tagger, *, root: Path, progress: Progress) -> pl.DataFrame:
    """Return one row per picture and judged tag that its prompt asks for: `value` is 1 where it is seen."""
    seen = sightings(tagger, [root / image for image in samples["image"]], progress)
    column = {name: index for index, name in enumerate(tagger.names)}
    rows = [
        (*key, tag, float(seen[row, column[tag]]))
        for row, (*key, tags) in enumerate(samples.select(*KEY, "tags").iter_rows())
        for tag in dict.fromkeys(map(canonical, tags))
        if tag in column
    ]
    schema = {name: samples.schema[name] for name in KEY} | {"tag": pl.String(), "value": pl.Float64()}
    return pl.DataFrame(rows, schema=schema, orient="row")


def recall_scores(found: pl.DataFrame, groups: Mapping[str, frozenset[str]]) -> pl.DataFrame:
    """Return the scores table: per picture the share of asked tags seen, over all, by group and tag by tag."""
    parts = [_recall(found, "recall")]
    parts += [_recall(found.filter(pl.col("tag").is_in(tags)), f"recall.{name}") for name, tags in groups.items()]
    parts.append(found.select(*KEY, pl.format("tag.{}", "tag").alias("metric"), "value"))
    return pl.concat(parts).sort("metric", "model", "prompt_index", "seed")


def cells(scores: pl.DataFrame, metric: str, models: Sequence[str]) -> dict[str, Cells]:
    """Return (prompts, seeds) values of a metric for every model."""
    rows = scores.filter(pl.col("metric") == metric)
    values = {tuple(key): value for *key, value in rows.select("model", "prompt_index", "seed", "value").iter_rows()}
    prompts, seeds = (rows[name].unique().sort().to_list() for name in ("prompt_index", "seed"))
    return {model: np.array([[values[model, p, s] for s in seeds] for p in prompts]) for model in models}


def _recall(found: pl.DataFrame, metric: str) -> pl.DataFrame:
    return (
        found.group_by(KEY).agg(pl.lit(metric).alias("metric"), pl.col("value").mean()).select(*KEY, "metric", "value")
    )


def _pixels(path: Path) -> NDArray[np.uint8] | None:
    try:
        return read_picture(path)
    except PictureError:
        return None
