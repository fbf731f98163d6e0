"""The latents stage: every picture of a manifest through the VAE, once."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import polars as pl
import torch

from enogu.core.networks.checkpoint import load_model
from enogu.core.records.errors import Failed, Refused
from enogu.core.records.files import write_bytes, write_json
from enogu.core.records.hashes import settings_hash
from enogu.core.records.job import Job
from enogu.core.records.picture import RESIZE_RECIPE
from enogu.core.records.posts import read_manifest
from enogu.core.records.shards import ShardWriter
from enogu.latents.buckets import Buckets
from enogu.latents.config import LatentsConfig
from enogu.latents.encode import Encoder, Loader, Outcome, Skipped
from enogu.latents.moments import Moments, fingerprint
from enogu.latents.statistics import bucket_table, pixel_figures
from enogu.latents.wanted import batches, pending, rows_of, wanted


def run(config: LatentsConfig, job: Job) -> dict[str, Any]:
    """Write shards, index.parquet, buckets.json and skipped.jsonl; return counts, pixels kept and times."""
    manifest = read_manifest(job.one("posts"))
    if manifest.frame.is_empty():
        raise Refused(f"no posts are selected in {job.one('posts')}; widen the selection of the posts stage")
    moments, recipe = _vae(config, job)
    writer, buckets = ShardWriter(job.out), config.table
    look = partial(wanted, manifest.frame, buckets=buckets, recipe=recipe, flip=config.flip)
    before = writer.stored()
    pictures = look(before)
    todo = pending(pictures, finished=writer.finished["key"], stored=before["key"], batch=config.batch)
    load = Loader(root=manifest.root, buckets=buckets, min_kept=config.min_kept, max_pixels=config.max_pixels)
    outcome = Encoder(load=load, moments=moments, writer=writer, recipe=recipe).run(
        batches(todo),
        done=len(pictures) - len(todo),
        total=len(pictures),
        threads=job.threads or os.cpu_count() or 1,
        progress=job.progress,
    )
    after = writer.stored()
    index = rows_of(look(after), after)
    skipped = _skipped(pictures, index, outcome.skipped)
    write_bytes(
        job.out / "skipped.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in skipped).encode()
    )
    reasons = dict(Counter(row["reason"] for row in skipped))
    if index.is_empty():
        raise Failed(f"none of {len(pictures)} pictures could be encoded ({reasons}); see {job.out / 'skipped.jsonl'}")
    writer.finish(index)
    figures = pixel_figures(index)
    write_json(job.out / "buckets.json", _bucket_file(buckets, index) | figures)
    return {
        "posts": len(pictures),
        "pictures": index["post"].n_unique(),
        "records": len(index),
        "encoded": outcome.records,
        "skipped": reasons,
        "fp32_fallbacks": moments.fallbacks,
        **figures,
        **_times(outcome),
    }


def _vae(config: LatentsConfig, job: Job) -> tuple[Moments, str]:
    """Return the encoder, and the name of all that shapes a record besides its picture and bucket."""
    vae = load_model(job.one("model"), device=job.device).vae
    recipe = settings_hash({"vae": fingerprint(vae), "resize": RESIZE_RECIPE, "precision": config.precision})
    vae = vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Moments(vae.moments, device=job.device, precision=config.precision), recipe


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
