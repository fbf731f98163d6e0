"""The latents stage: every picture of a manifest through the VAE, once."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from enogu.core.records.errors import Failed, Refused
from enogu.core.records.files import write_bytes, write_json
from enogu.core.records.hashes import settings_hash
from enogu.core.records.job import Job
from enogu.core.records.picture import RESIZE_RECIPE
from enogu.core.records.posts import read_manifest
from enogu.core.records.shards import ShardWriter
from enogu.latents.buckets import Buckets
from enogu.latents.claims import Claims
from enogu.latents.config import LatentsConfig
from enogu.latents.encode import Outcome
from enogu.latents.moments import Moments, fingerprint
from enogu.latents.skipped import Skipped, clear, noted
from enogu.latents.statistics import bucket_table, pixel_figures
from enogu.latents.wanted import rows_of
from enogu.latents.worker import Worker

WRITERS = "writers"  # its byte n is held by the process that writes as n; the file stays, empty


def run(config: LatentsConfig, job: Job) -> dict[str, Any]:
    """Write shards, index.parquet, buckets.json and skipped.jsonl; return counts, pixels kept and times."""
    worker = _worker(config, job)
    with Claims(job.out / WRITERS) as writers:
        writer = ShardWriter(job.out, writer=str(writers.first()))
        outcome = worker.work(writer, to_the_end=True)
        stored = writer.stored()
        pictures = worker.wanted(stored)
        index = rows_of(pictures, stored)
        skipped = _skipped(pictures, index, noted(job.out))
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in skipped)
        write_bytes(job.out / "skipped.jsonl", text.encode())
        reasons = dict(Counter(row["reason"] for row in skipped))
        if index.is_empty():
            clear(job.out)
            raise Failed(
                f"none of {len(pictures)} pictures could be encoded ({reasons}); see {job.out / 'skipped.jsonl'}"
            )
        writer.finish(index)
        clear(job.out)
    figures = pixel_figures(index)
    write_json(job.out / "buckets.json", _bucket_file(config.table, index) | figures)
    return {
        "posts": len(pictures),
        "pictures": index["post"].n_unique(),
        "records": len(index),
        "encoded": outcome.records,
        "skipped": reasons,
        "fp32_fallbacks": outcome.fallbacks,
        **figures,
        **_times(outcome),
    }


def assist(config: LatentsConfig, job: Job) -> dict[str, Any]:
    """Encode beside other processes what nobody has taken, and leave the end to `run`; return counts and times."""
    worker = _worker(config, job)
    with Claims(job.out / WRITERS) as writers:
        writer = ShardWriter(job.out, writer=str(writers.first()))
        outcome = worker.work(writer, to_the_end=False)
        writer.sync()
    return {"pictures": outcome.pictures, "encoded": outcome.records, **_times(outcome)}


def _worker(config: LatentsConfig, job: Job) -> Worker:
    manifest = read_manifest(job.one("posts"))
    if manifest.frame.is_empty():
        raise Refused(f"no posts are selected in {job.one('posts')}; widen the selection of the posts stage")
    moments, recipe = _vae(config, job)
    job.out.mkdir(parents=True, exist_ok=True)
    return Worker(config=config, job=job, manifest=manifest, moments=moments, recipe=recipe)


def _vae(config: LatentsConfig, job: Job) -> tuple[Moments, str]:
    """Return the encoder, and the name of all that shapes a record besides its picture and bucket."""
    moments = Moments(job.one("model").absolute(), job.device, config.precision)
    shaped = {name: getattr(config, name) for name in ("precision", "linear", "margin")}
    recipe = settings_hash({"vae": fingerprint(moments.vae), "resize": RESIZE_RECIPE, **shaped})
    return moments, recipe


def _skipped(pictures: pl.DataFrame, index: pl.DataFrame, skipped: Sequence[Skipped]) -> list[dict[str, Any]]:
    """List every post without a record; posts that share one picture share its reason."""
    reasons = {one.sha256: one for one in skipped}
    unmet = pictures.join(index, on="post", how="anti").sort("post")
    return [
        {"post": post, "image": image, "reason": reasons[sha256].reason, "detail": reasons[sha256].detail}
        for post, image, sha256 in unmet.select("post", "image", "sha256").rows()
    ]


def _bucket_file(buckets: Buckets, index: pl.DataFrame) -> dict[str, Any]:
    return asdict(buckets) | {"shapes": buckets.shapes.tolist(), "buckets": bucket_table(index).to_dicts()}


def _times(outcome: Outcome) -> dict[str, Any]:
    """Return busy seconds by kind of work and the shares of the three that matter."""
    seconds = {name: round(value, 3) for name, value in sorted(outcome.seconds.items())}
    busy = sum(outcome.seconds[name] for name in ("decode", "resize", "vae")) or 1.0
    return {
        "seconds": seconds,
        "shares": {name: round(outcome.seconds[name] / busy, 4) for name in ("decode", "resize", "vae")},
        "pictures_per_second": round(outcome.pictures / max(outcome.seconds["total"], 1e-9), 2),
    }
