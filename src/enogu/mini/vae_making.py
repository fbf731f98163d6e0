"""The stage that makes a mini autoencoder: draws the sources, trains, whitens, and writes a checkpoint to start from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from enogu.core.diffusion.noise import noise
from enogu.core.networks.checkpoint import load, save
from enogu.core.networks.family import family
from enogu.core.networks.groups import load_groups, save_groups
from enogu.core.networks.model import StableDiffusion
from enogu.core.records.files import atomic_path
from enogu.core.records.hashes import sha256_file
from enogu.core.records.job import Job
from enogu.core.records.seed import derive, generator
from enogu.mini.autoencoder import CROP, SOURCE, Pictures, crops, losses, pool, whiten
from enogu.mini.config import VaeConfig

WARMUP_UPDATES = 200
AVERAGE_UPDATES = 1000  # the longest horizon of the averaged weights
STATE_EVERY = 500  # updates between saves of the unfinished run
WHITENED = 512  # crops that the latents' scale is measured on


def make_vae(config: VaeConfig, job: Job) -> dict[str, Any]:
    """Train, or go on training, and write `model.safetensors` with fp32 weights."""
    torch.manual_seed(derive(config.seed, "weights"))
    model = StableDiffusion(family(config.family))
    vae = model.vae.to(job.device)
    vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sources = _sources(config, job)
    latent = (model.family.vae.latent, CROP // model.family.vae.factor, CROP // model.family.vae.factor)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=config.rate, betas=(0.9, 0.99), weight_decay=1e-4)
    average = {name: value.detach().clone() for name, value in vae.state_dict().items()}
    updates = math.ceil(config.images / config.batch)
    first, rebuilt = _restore(job.out / "state.safetensors", vae, optimizer, average), 0.0
    for update in range(first, updates):
        rgb = crops(sources, generator(config.seed, "crops", update), config.batch).to(job.device)
        sample = noise(derive(config.seed, "posterior", update), (config.batch, *latent)).to(job.device)
        found = losses(vae, rgb, sample, prior=config.prior)
        for group in optimizer.param_groups:
            warm = min(1.0, (update + 1) / WARMUP_UPDATES)
            group["lr"] = config.rate * warm * 0.5 * (1 + math.cos(math.pi * update / updates))
        found.total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        _average(average, vae.state_dict(), update)
        rebuilt += 0.01 * (found.rebuilt - rebuilt)
        if (update + 1) % STATE_EVERY == 0:
            _keep(job.out / "state.safetensors", vae, optimizer, average, update + 1)
        job.progress((update + 1) * config.batch, config.images, f"crops, L1 {rebuilt:.3f}")
    vae.load_state_dict(average)
    whiten(vae, crops(sources, generator(config.seed, "whitening"), WHITENED).to(job.device), model.family.latent_scale)
    save(job.out / "model.safetensors", model.state_dict(), {"format": "pt", "enogu.family": config.family})
    return {"images": config.images, "L1": rebuilt, "sha256": sha256_file(job.out / "model.safetensors")}


def _sources(config: VaeConfig, job: Job) -> Pictures:
    """Draw the sources once and keep them beside the state."""
    path = job.out / "sources.npy"
    if not path.exists():
        table = np.empty((config.pictures, SOURCE, SOURCE, 3), dtype=np.uint8)
        for row, picture in enumerate(pool(config.seed, config.pictures)):
            table[row] = picture
            job.progress(row + 1, config.pictures, "sources drawn")
        with atomic_path(path) as part, part.open("wb") as handle:
            np.save(handle, table, allow_pickle=False)
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _average(average: dict[str, Tensor], values: dict[str, Tensor], update: int) -> None:
    keep = min(1 - 1 / AVERAGE_UPDATES, (1 + update) / (10 + update))
    with torch.no_grad():
        torch._foreach_lerp_(list(average.values()), [values[name] for name in average], 1 - keep)


def _keep(path: Path, vae: nn.Module, optimizer: torch.optim.AdamW, average: dict[str, Tensor], update: int) -> None:
    moments = {
        f"{key}/{name}": optimizer.state[parameter][key].reshape(parameter.shape if key != "step" else (1,))
        for name, parameter in vae.named_parameters()
        for key in ("exp_avg", "exp_avg_sq", "step")
    }
    save_groups(path, {"weights": vae.state_dict(), "average": average, "moments": moments}, {"update": update})


@torch.no_grad()
def _restore(path: Path, vae: nn.Module, optimizer: torch.optim.AdamW, average: dict[str, Tensor]) -> int:
    if not path.exists():
        return 0
    groups, note = load_groups(path)
    vae.load_state_dict(groups["weights"])
    for name, value in groups["average"].items():
        average[name].copy_(value)
    for name, parameter in vae.named_parameters():
        moments = {key: groups["moments"][f"{key}/{name}"] for key in ("exp_avg", "exp_avg_sq")}
        state = {key: torch.empty_like(parameter).copy_(value) for key, value in moments.items()}
        step = groups["moments"][f"step/{name}"].reshape(())
        optimizer.state[parameter] = {"step": step, **state}
    return int(note["update"])
