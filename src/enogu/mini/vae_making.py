"""The stage that makes a mini autoencoder: draws sources, trains, whitens, and writes a checkpoint to start from."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from enogu.core.diffusion.noise import noise
from enogu.core.networks.checkpoint import load_model, save
from enogu.core.networks.family import family
from enogu.core.networks.model import StableDiffusion
from enogu.core.networks.vae import VAE
from enogu.core.records.files import atomic_path
from enogu.core.records.hashes import sha256_file
from enogu.core.records.job import Job
from enogu.core.records.seed import derive, generator
from enogu.mini.autoencoder import CROP, SOURCE, Losses, Pictures, crops, losses, pool, whiten
from enogu.mini.config import VaeConfig
from enogu.mini.unfinished import Unfinished

WARMUP_UPDATES = 200
AVERAGE_UPDATES = 1000  # the longest horizon of the averaged weights
STATE_EVERY = 500  # updates between saves of the unfinished run
WHITENED = 512  # crops that the latents' scale is measured on


def make_vae(config: VaeConfig, job: Job) -> dict[str, Any]:
    """Train, or go on training, and write `model.safetensors` with fp32 weights."""
    model = _model(config, job)
    vae = model.vae
    trained = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()] if config.start else vae.parameters()
    sources = _sources(config, job)
    optimizer = torch.optim.AdamW(trained, lr=config.rate, betas=(0.9, 0.99), weight_decay=1e-4)
    average = {name: value.detach().clone() for name, value in vae.state_dict().items()}
    state = Unfinished(job.out / "state.safetensors", vae, optimizer, average)
    updates = math.ceil(config.images / config.batch)
    first, rebuilt = state.restore(), 0.0
    for update in range(first, updates):
        found = _losses(config, vae, sources, update=update)
        for group in optimizer.param_groups:
            warm = min(1.0, (update + 1) / WARMUP_UPDATES)
            group["lr"] = config.rate * warm * 0.5 * (1 + math.cos(math.pi * update / updates))
        found.total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        _average(average, vae.state_dict(), update)
        rebuilt += (found.rebuilt - rebuilt) * max(0.01, 1 / (update - first + 1))
        if (update + 1) % STATE_EVERY == 0:
            state.keep(update + 1)
        job.progress((update + 1) * config.batch, config.images, f"crops, L1 {rebuilt:.3f}")
    vae.load_state_dict(average)
    if not config.start:
        rgb = crops(sources, generator(config.seed, "whitening"), WHITENED)
        whiten(vae, rgb.to(job.device), model.family.latent_scale)
    save(job.out / "model.safetensors", model.state_dict(), {"format": "pt", "enogu.family": config.family})
    return {"images": config.images, "L1": rebuilt, "sha256": sha256_file(job.out / "model.safetensors")}


def _model(config: VaeConfig, job: Job) -> StableDiffusion:
    """Return the networks to train: those of `start` with all but the decoder frozen, or random ones."""
    if config.start:
        model = load_model(job.one("start"), job.device)
        model.vae.decoder.requires_grad_(True)
        model.vae.post_quant_conv.requires_grad_(True)
    else:
        torch.manual_seed(derive(config.seed, "weights"))
        model = StableDiffusion(family(config.family)).to(job.device)
    model.vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def _losses(config: VaeConfig, vae: VAE, sources: Pictures, *, update: int) -> Losses:
    rgb = crops(sources, generator(config.seed, "crops", update), config.batch)
    device = next(vae.parameters()).device
    side = CROP // vae.widths.factor
    normal = noise(derive(config.seed, "posterior", update), (config.batch, vae.widths.latent, side, side))
    return losses(vae, rgb.to(device), normal.to(device), prior=config.prior, latent_noise=config.latent_noise)


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
