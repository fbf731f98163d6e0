"""Read a source, choose posts, look at their images, freeze the manifest."""

import json
import os
import shutil
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from enogu.core.records.cluster import executor
from enogu.core.records.errors import Refused
from enogu.core.records.files import atomic_path, write_json
from enogu.core.records.job import Job
from enogu.core.records.posts import MANIFEST_SCHEMA, RATINGS
from enogu.core.records.tag_relations import read_pairs
from enogu.posts.audit import Limits, audit
from enogu.posts.config import PostsConfig, Where
from enogu.posts.duplicates import best, grouped, seen
from enogu.posts.importing import Tally, import_posts
from enogu.posts.opt_out import LIST, Post, opted_out
from enogu.posts.query_masks import Relations
from enogu.posts.select import Funnel, Selection, select
from enogu.posts.sources import find
from enogu.posts.statistics import statistics
from enogu.posts.tag_index import TagIndex
from enogu.posts.tag_indexing import indexed

LISTS = ("aliases", "implications", "opt_out")


def run(config: PostsConfig, job: Job) -> dict[str, Any]:
    """Write posts.parquet, manifest.parquet, posts.json and skipped.jsonl; return the funnel and the skips."""
    given = job.one("booru") if config.booru else Path(config.source).expanduser()
    path, source = find(given, config.format)
    root = Path(config.images).expanduser() if config.images else path if path.is_dir() else path.parent
    tally = import_posts(path, source, job.out / "posts.parquet", config=config, progress=job.progress)
    index = indexed(job.out / "posts.parquet", progress=job.progress)
    selection = select(
        index, config.where, seed=config.seed, relations=relations(config), opted_out=opt_outs(config, job.out.parent)
    )
    chosen, funnel = index.frame(selection.rows).sort("id"), selection.funnel
    limits = Limits(config.where.min_side, config.where.max_pixels, config.where.animated)
    looked = audit(chosen, root, limits, executor=executor(job), progress=job.progress, keep=job.out / "audit")
    fit, unfit = looked.filter(pl.col("reason") == ""), looked.filter(pl.col("reason") != "")
    funnel = {"read": tally.read, "not on the blocklist": tally.read - tally.blocked, **funnel, "image": len(fit)}
    if config.where.distinct is not None:
        fit = best(grouped(fit, seen(job.out), config.where.distinct)).drop("group")
        funnel["best of its group"] = len(fit)
    _write_skipped(job.out, tally, unfit)
    if fit.is_empty():
        advice = _advice(unfit, selection, index, where=config.where)
        raise Refused(f"no post is left of {given}:\n{show(funnel)}\n{advice}")
    with atomic_path(job.out / "manifest.parquet") as part:
        fit.select(*MANIFEST_SCHEMA).write_parquet(part)
    chosen_from = (pl.scan_parquet(job.out / name) for name in ("manifest.parquet", "posts.parquet"))
    write_json(job.out / "statistics.json", statistics(*chosen_from))
    reasons = Counter(unfit["reason"]) + tally.reasons
    summary = {
        "posts": len(fit),
        "funnel": [{"step": step, "left": left} for step, left in funnel.items()],
        "skipped": dict(reasons),
        "remarks": dict(tally.remarks),
        "notes": list(selection.notes),
    }
    stored = os.path.relpath(root.resolve(), job.out.resolve()) if config.booru else str(root.resolve())
    lists = {name: str(Path(path).expanduser().absolute()) for name in LISTS if (path := getattr(config, name))}
    query = asdict(config) | lists  # which further queries read, from any folder
    write_json(job.out / "posts.json", {"root": stored, "source": str(given), "query": query, **summary})
    return summary


def relations(config: PostsConfig) -> Relations:
    """Read the tables of aliases and implications."""
    tables = (Path(name).expanduser() if name else None for name in (config.aliases, config.implications))
    return Relations(*(tuple(read_pairs(path)) if path else () for path in tables))


def opt_outs(config: PostsConfig, work: Path) -> set[Post]:
    """Return the posts that the config's list, or that of the work folder, keeps out."""
    named = [Path(config.opt_out).expanduser()] if config.opt_out else []
    if named and not named[0].exists():
        raise Refused(f"posts.opt_out: there is no {named[0]}; an opt-out that cannot be read lets everybody in")
    return opted_out([*named, work / LIST])


def show(funnel: Funnel) -> str:
    """Return the funnel as lines of text."""
    return "\n".join(f"{left:>12,}  {step}" for step, left in funnel.items())


def _write_skipped(out: Path, tally: Tally, unfit: pl.DataFrame) -> None:
    """Write one list of what was skipped while reading and what the images were found to be."""
    with atomic_path(out / "skipped.jsonl") as part, part.open("wb") as lines:
        with tally.skipped.open("rb") as read:
            shutil.copyfileobj(read, lines)
        for post, image, reason in unfit.select("id", "image", "reason").iter_rows():
            line = json.dumps({"at": image, "reason": reason, "post": post}, ensure_ascii=False)
            lines.write(line.encode() + b"\n")


def _advice(unfit: pl.DataFrame, selection: Selection, index: TagIndex, *, where: Where) -> str:
    if unfit.is_empty():
        lost = next((step for step, left in selection.funnel.items() if not left), "")
        remedy = _of_ratings(index, where) if lost == "rating" else "widen posts.where at the step that leaves none"
        return "\n".join([*selection.notes, remedy])
    reason, image = unfit["reason"][0], unfit["image"][0]
    return f"every image is unfit, as {image} ({reason}): check posts.images and posts.file"


def _of_ratings(index: TagIndex, where: Where) -> str:
    others = [rating for rating in RATINGS if rating not in where.rating]
    counts = +Counter({rating: int(index.coded("rating", [rating]).sum()) for rating in others})
    there = ", ".join(f"{count:,} {rating}" for rating, count in counts.most_common())
    wider = json.dumps([*where.rating, "unknown" if "unknown" in counts else min(counts, key=RATINGS.index)])
    return (
        f"where.rating lets none of these in: {there}; name those that you want, as in where = {{ rating = {wider} }}"
    )
