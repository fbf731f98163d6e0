"""Sightings to a posts folder: tags chosen by thresholds, ratings heard, scores ranked among these very posts."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from enogu.core.records.errors import unknown
from enogu.core.records.files import atomic_path, read_json, write_json
from enogu.core.records.posts import CATEGORIES, RATINGS, read_manifest
from enogu.tagging.agreement import agreement
from enogu.tagging.calibration import bias, percentiles
from enogu.tagging.choosing import CHARACTER_FLOOR, agreed, likeliest, mcut, without_overlaps
from enogu.tagging.config import TaggedConfig
from enogu.tagging.sightings import Seer, Sightings

ROWS = 256  # posts at a time: taggers x posts x tags numbers are in memory
RATING = "rating"
COMMON = 0.01  # of the posts that a tag needs for a row of the bias table


@dataclass(frozen=True)
class Words:
    """Every tag that some tagger knows, and where each tagger has it; -1 where it does not."""

    names: list[str]
    kinds: NDArray[np.str_]
    places: NDArray[np.int64]  # (taggers, tags)
    thresholds: NDArray[np.float32]  # (taggers, tags), NaN where a tagger lacks the tag

    def by_kind(self) -> dict[str, list[str]]:
        """Return the tags of each category that posts have."""
        pairs = list(zip(self.kinds, self.names, strict=True))
        kinds = [category for category in CATEGORIES if category in self.kinds]
        return {category: [name for kind, name in pairs if kind == category] for category in kinds}


def write_tagged(config: TaggedConfig, sightings: Sightings, posts: Path, *, out: Path) -> dict[str, Any]:
    """Write manifest.parquet, posts.parquet, posts.json, conflicts.parquet and, with a scorer, bias.json."""
    manifest = read_manifest(posts)
    shutil.rmtree(out / "seen", ignore_errors=True)
    words = _words(sightings.taggers, config)
    seen = _seen(config, sightings, words, scratch=out / "seen")
    scores = _scores(config, sightings, manifest.frame)
    both = manifest.frame.join(seen, left_on="id", right_on="post", how="left")
    tagged = _with_tags(both, config)
    tagged, conflicts, left_out = _with_ratings(tagged, config)
    if scores is not None:
        tagged = tagged.drop("aesthetic").join(scores, on="id", how="left", maintain_order="left")
        write_json(out / "bias.json", bias(tagged, common=COMMON))
    tagged = tagged.select(*manifest.frame.columns)
    everyone = pl.scan_parquet(posts / "posts.parquet")
    if scores is not None:
        everyone = everyone.drop("aesthetic").join(scores.lazy(), on="id", how="left", maintain_order="left")
    with atomic_path(out / "posts.parquet") as part:
        everyone.sink_parquet(part)
    with atomic_path(out / "conflicts.parquet") as part:
        conflicts.write_parquet(part)
    with atomic_path(out / "manifest.parquet") as part:
        tagged.write_parquet(part)
    shutil.rmtree(out / "seen")
    models = sum(len(one) for column in _columns(seen) for one in seen[column])
    summary = {
        "posts": len(tagged),
        "tags_a_post": round(models / max(len(seen), 1), 2),
        "rating_conflicts": len(conflicts),
        "left_out": left_out,
        "against_site": agreement(both, words.by_kind()),
    }
    root = os.path.relpath(manifest.root.resolve(), out.resolve())
    told = read_json(posts / "posts.json") | {"root": root, "tagged": asdict(config) | summary}
    write_json(out / "posts.json", told)
    return summary


def _seen(config: TaggedConfig, sightings: Sightings, words: Words, *, scratch: Path) -> pl.DataFrame:
    """Return post, a list column seen_KIND per kind of tag, and the rating that taggers see, or null."""
    scratch.mkdir(parents=True)
    for number, part in enumerate(sightings.parts()):
        slices = list(part.iter_slices(ROWS)) or [part]  # of pictures that could be read there may be none
        rows = [_chosen(config, sightings, words, part=one) for one in slices]
        pl.concat(rows).write_parquet(scratch / f"{number:06}.parquet")
    return pl.read_parquet(scratch / "*.parquet")


def _words(taggers: Sequence[Seer], config: TaggedConfig) -> Words:
    known = {
        (kind, tag): None for seer in taggers for kind, tag in zip(seer.kinds, seer.tags, strict=True) if kind != RATING
    }
    column = {pair: number for number, pair in enumerate(known)}
    places = np.full((len(taggers), len(column)), -1, np.int64)
    thresholds = np.full((len(taggers), len(column)), np.nan, np.float32)
    for row, seer in enumerate(taggers):
        for place, (kind, tag, own) in enumerate(zip(seer.kinds, seer.tags, seer.thresholds, strict=True)):
            if kind != RATING:
                places[row, column[kind, tag]] = place
                thresholds[row, column[kind, tag]] = config.thresholds.get(kind, own)
    kinds = np.array([kind for kind, _ in column])
    for kind in (*config.thresholds, *config.mcut):
        if kind not in kinds:
            raise unknown("kind of tag in [tagged]", kind, sorted(set(kinds)))
    return Words([tag for _, tag in column], kinds, places, thresholds)


def _chosen(config: TaggedConfig, sightings: Sightings, words: Words, *, part: pl.DataFrame) -> pl.DataFrame:
    dense = [sightings.probabilities(part, seer) for seer in sightings.taggers]
    rated = _rated(sightings, dense, posts=len(part))
    if not dense:
        return pl.DataFrame({"post": part["post"], **rated})
    known = words.places >= 0
    stacked = np.full((len(dense), len(part), len(words.names)), np.nan, np.float32)
    for row, found in enumerate(dense):
        stacked[row][:, known[row]] = found[:, words.places[row, known[row]]]
    joint, chosen = agreed(stacked, words.thresholds, config.ensemble)
    for kind in config.mcut:
        which = np.flatnonzero(words.kinds == kind)
        cut = mcut(joint[:, which], CHARACTER_FLOOR if kind == "character" else 0.0)
        chosen[:, which] = joint[:, which] >= cut
    if config.most:
        chosen = likeliest(chosen, joint, config.most)
    return pl.DataFrame({"post": part["post"], **_lists(config, words, joint, chosen=chosen), **rated})


def _lists(
    config: TaggedConfig, words: Words, joint: NDArray[np.float32], *, chosen: NDArray[np.bool_]
) -> dict[str, pl.Series]:
    """Return the tags of each post by kind, the likeliest first."""
    lists: dict[str, list[list[str]]] = {kind: [] for kind in words.by_kind()}
    for probabilities, own in zip(joint, chosen, strict=True):
        order = np.flatnonzero(own)
        order = order[np.argsort(-probabilities[order], kind="stable")]
        tags = [words.names[tag] for tag in order]
        kept = set(tags if config.overlaps else without_overlaps(tags))
        for kind, column in lists.items():
            column.append([words.names[tag] for tag in order if words.kinds[tag] == kind and words.names[tag] in kept])
    return {f"seen_{kind}": pl.Series(column, dtype=pl.List(pl.String)) for kind, column in lists.items()}


def _rated(sightings: Sightings, dense: Sequence[NDArray[np.float32]], *, posts: int) -> dict[str, pl.Series]:
    """Return the likeliest rating by the mean of the taggers that rate, and its probability."""
    told = []
    for seer, found in zip(sightings.taggers, dense, strict=True):
        place = {tag: at for at, (kind, tag) in enumerate(zip(seer.kinds, seer.tags, strict=True)) if kind == RATING}
        if set(RATINGS[:4]) <= place.keys():
            told.append(found[:, [place[rating] for rating in RATINGS[:4]]])
    if not told:
        return {"seen_rating": pl.Series([None] * posts, dtype=pl.String), "certainty": pl.Series([0.0] * posts)}
    mean = np.mean(told, axis=0)
    best = mean.argmax(axis=1)
    return {
        "seen_rating": pl.Series([RATINGS[one] for one in best], dtype=pl.String),
        "certainty": pl.Series(mean[np.arange(posts), best].astype(np.float64)),
    }


def _columns(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if name.startswith("seen_") and name != "seen_rating"]


def _with_tags(frame: pl.DataFrame, config: TaggedConfig) -> pl.DataFrame:
    empty = pl.lit([], dtype=pl.List(pl.String))
    columns = []
    for category in CATEGORIES:
        site = pl.col(f"tags_{category}").fill_null(empty) if config.tags == "both" else empty
        seen = pl.col(f"seen_{category}").fill_null(empty) if f"seen_{category}" in frame.columns else empty
        joined = pl.concat_list(site, seen).list.unique(maintain_order=True)
        columns.append(joined.alias(f"tags_{category}"))
    return frame.with_columns(columns)


def _with_ratings(frame: pl.DataFrame, config: TaggedConfig) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Return posts, those that taggers see as less safe than the site says, and how many had to be left out."""
    place = {rating: number for number, rating in enumerate(RATINGS)}
    less_safe = pl.col("seen_rating").replace_strict(place, default=-1) > pl.col("rating").replace_strict(place)
    heard = less_safe & (pl.col("certainty") >= config.rating_threshold)
    conflicts = frame.filter(heard).select("id", "rating", "seen_rating", "certainty")
    if config.rating == "site":
        return frame, conflicts, 0
    admitted = frame["rating"].unique()  # what the selection let in: nothing less safe comes in by being seen
    raised = frame.with_columns(rating=pl.when(heard).then("seen_rating").otherwise("rating"))
    kept = raised.filter(pl.col("rating").is_in(admitted.implode()))
    return kept, conflicts, len(raised) - len(kept)


def _scores(config: TaggedConfig, sightings: Sightings, manifest: pl.DataFrame) -> pl.DataFrame | None:
    """Return id and aesthetic: the percentile of a scorer's score, 0 to 1, among these posts."""
    if not config.aesthetic:
        return None
    if config.aesthetic not in sightings.scorers:
        raise unknown("scorer in [tagged]", config.aesthetic, sightings.scorers)
    if config.level and config.level not in manifest.columns:
        raise unknown("level in [tagged]", config.level, manifest.columns)
    rows = [part.select(id="post", score=f"{config.aesthetic}.score") for part in sightings.parts()]
    scores = pl.concat(rows).join(manifest.select("id", *([config.level] if config.level else [])), on="id")
    return percentiles(scores, config.level)
