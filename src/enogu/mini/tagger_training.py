"""Training the mini tagger on pictures drawn for it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from enogu.core.records.progress import Progress
from enogu.core.records.seed import derive
from enogu.mini.config import TaggerConfig
from enogu.mini.tagger_labels import labels
from enogu.mini.tagger_net import TaggerNet
from enogu.mini.tagger_pictures import augmented, training_set

SMOOTHING = 0.02  # keeps probabilities off 0 and 1, so that thresholds have room


def draw_training_set(config: TaggerConfig, *, threads: int, progress: Progress) -> tuple[Tensor, Tensor]:
    """Pictures [N, side, side, 3] uint8 and labels [N, tags]."""
    pictures = torch.empty(config.pictures, config.side, config.side, 3, dtype=torch.uint8)
    tags = torch.empty(config.pictures, len(labels()))
    drawn = training_set(config.seed, config.pictures, config.side, threads=threads)
    for row, (picture, shown) in enumerate(drawn):
        pictures[row] = torch.from_numpy(picture.copy())
        tags[row] = torch.from_numpy(shown)
        if row % 100 == 99:
            progress(row + 1, config.pictures, "pictures drawn")
    return pictures, tags


def train_tagger(config: TaggerConfig, pictures: Tensor, tags: Tensor, *, progress: Progress) -> TaggerNet:
    """Train with AdamW under one cycle (Smith, 2018), in bfloat16 where torch has kernels for it."""
    rng = torch.Generator().manual_seed(derive(config.seed, "tagger.train"))
    net = _fresh(tags.shape[1], derive(config.seed, "tagger.init"))
    optimizer = torch.optim.AdamW(net.parameters(), lr=config.rate, weight_decay=config.decay)
    steps = config.epochs * (len(pictures) // config.batch or 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.rate, total_steps=steps, pct_start=0.15)
    order = torch.empty(0, dtype=torch.long)
    for step in range(steps):
        if len(order) < config.batch:
            order = torch.randperm(len(pictures), generator=rng)
        rows, order = order[: config.batch], order[config.batch :]
        with torch.autocast("cpu", torch.bfloat16, enabled=_has_bfloat16()):
            logits = net(augmented(pictures[rows], rng))
        wanted = tags[rows] * (1 - SMOOTHING) + SMOOTHING / 2
        loss = F.binary_cross_entropy_with_logits(logits.float(), wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        progress(min(len(pictures) * config.epochs, (step + 1) * config.batch), len(pictures) * config.epochs, "images")
    return net.eval()


def _fresh(tags: int, seed: int) -> TaggerNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TaggerNet(tags).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _has_bfloat16() -> bool:
    asked = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)  # builds without oneDNN lack it
    return bool(asked and asked())
