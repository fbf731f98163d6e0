"""The training stage: opens the records, goes on where it stopped, and leaves a checkpoint."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from enogu.core.networks.checkpoint import load
from enogu.core.records.files import atomic_path
from enogu.core.records.hashes import settings_plain, sha256_file
from enogu.core.records.job import Job
from enogu.core.records.shards import Shards
from enogu.train.config import TrainConfig
from enogu.train.curves import Curves
from enogu.train.data import Captions, LatentSet, Plan
from enogu.train.keeper import Keeper
from enogu.train.loop import Loop
from enogu.train.position import Position
from enogu.train.text_outputs import TextOutputs, Variants, captions_of, encoder_name, number_of
from enogu.train.tuner import Tuner

TEXT_OUTPUTS = "text"  # folder of those that are kept while the run goes on


def run(config: TrainConfig, job: Job, *, plan: Plan, reader: Callable[[Path, int], Captions]) -> dict[str, Any]:
    """Train, or go on training, and return what was done."""
    began = time.monotonic()
    start = job.one("start")
    tuner = Tuner(config, load(start), job.device)
    recipe = {**settings_plain(config), "start_sha256": sha256_file(start)}
    shards = {name: Shards(folder) for name, folder in job.all("latents").items()}
    # one number for all, so that what one phase holds out of the same posts no other trains on
    held_out = config.held_out(min(one.posts for one in shards.values()))
    latents = {name: LatentSet(one, held_out=held_out, seed=config.seed) for name, one in shards.items()}
    captions = reader(job.one("captions"), config.seed)
    if config.text_variants:
        captions = _kept(config, captions, latents, tuner=tuner, job=job)
    keeper = Keeper(job.out, config, tuner, state_images=0, recipe=json.dumps(recipe, sort_keys=True))
    restored = keeper.restore()
    at = restored or Position()
    resumed = at.images
    curves = Curves(job.out, upto=restored.images if restored else -1, phase=config.phase_name(at.phase))
    loop = Loop(
        config,
        tuner,
        latents=latents,
        captions=captions,
        plan=plan,
        curves=curves,
        keeper=keeper,
        progress=job.progress,
    )
    keeper.state_images = config.state_images or max(1, loop.total // 10)
    try:
        at = loop.run(at)
    finally:
        curves.close()
    _publish(keeper.checkpoint(at), job.out / "model.safetensors")
    shutil.rmtree(job.out / TEXT_OUTPUTS, ignore_errors=True)
    seconds = time.monotonic() - began
    return {
        "images": at.images,
        "updates": at.updates,
        "lost_batches": tuner.lost,
        "resumed_at": resumed,
        "images_per_second": round((at.images - resumed) / seconds, 1),
        "held_out": held_out,
        "pictures": {name: data.pictures for name, data in latents.items()},
        "precision": "bf16" if tuner.autocast else "fp32",
        "sha256": sha256_file(job.out / "model.safetensors"),
    }


def _kept(
    config: TrainConfig, captions: Captions, latents: dict[str, LatentSet], *, tuner: Tuner, job: Job
) -> Captions:
    """Let kept outputs stand for the text encoder; return the few captions of each post that they are of."""
    few = Variants(captions, config.text_variants)
    objective = tuner.objective

    @torch.no_grad()
    def compute(tokens: torch.Tensor) -> torch.Tensor:
        with torch.autocast(objective.model.device.type, torch.bfloat16, enabled=objective.autocast):
            return objective.text(tokens)

    outputs = TextOutputs(job.out / TEXT_OUTPUTS, encoder_name(tuner.start.tensors, config), compute)
    said, total = captions_of(config, few, latents), number_of(config, latents)
    outputs.fill(said, chunks=config.chunks, total=total, progress=job.progress)
    objective.kept = outputs
    return few


def _publish(checkpoint: Path, path: Path) -> None:
    """Give the last checkpoint its lasting name without a second copy where the disk allows it."""
    with atomic_path(path) as part:
        try:
            os.link(checkpoint, part)
        except OSError:
            shutil.copyfile(checkpoint, part)
