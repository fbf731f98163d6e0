"""A miniature set of records to train on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

from enogu.core.networks.checkpoint import save
from enogu.core.networks.family import family
from enogu.core.networks.model import StableDiffusion
from enogu.core.records.job import Job
from enogu.core.records.progress import Progress, silent
from enogu.core.records.seed import generator
from enogu.core.records.shards import Entry, ShardWriter
from enogu.train.config import TrainConfig
from enogu.train.stage import run

POSTS = 20


class Words:
    """Captions that say the post and the epoch."""

    def caption(self, post: int, *, epoch: int, set: str = "tags") -> str:
        return f"{set} {post} {epoch}"

    def plain(self, post: int, set: str = "tags") -> str:
        return f"{set} {post}"


def plan(index: pl.DataFrame, *, batch: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    order = generator(seed, "order", epoch).permutation(len(index))
    return [order[first : first + batch] for first in range(0, len(order) - batch + 1, batch)]


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of random weights whose UNet answers something."""
    torch.manual_seed(1)
    model = StableDiffusion(family("mini-sd1"))
    for parameter in model.parameters():
        if not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.02)
    path = tmp_path_factory.mktemp("start") / "model.safetensors"
    save(path, {key: value.half() for key, value in model.state_dict().items()}, {})
    return path


@pytest.fixture(scope="session")
def latents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a latents folder of one bucket."""
    folder = tmp_path_factory.mktemp("latents")
    writer = ShardWriter(folder)
    entries = [
        Entry(
            post=post,
            width=32,
            height=32,
            flipped=False,
            key=f"{post:032x}",
            original_width=32,
            original_height=32,
            crop_left=0,
            crop_top=0,
        )
        for post in range(POSTS)
    ]
    rng = np.random.default_rng(0)
    writer.append(entries, [rng.normal(size=(8, 4, 4)).astype(np.float16) for _ in entries])
    writer.finish(writer.stored())
    return folder


@pytest.fixture
def train(start: Path, latents: Path) -> Callable[..., Path]:
    """Return a function that trains into a folder."""

    def go(config: TrainConfig, out: Path, progress: Progress = silent, *, latents: Path = latents) -> Path:
        inputs = {"start": {"base": start}, "latents": {"low": latents}, "captions": {"c": Path()}}
        run(config, Job(out=out, inputs=inputs, progress=progress), plan=plan, reader=lambda folder, seed: Words())
        return out / "model.safetensors"

    return go
