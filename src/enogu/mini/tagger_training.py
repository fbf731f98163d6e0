"""Training the mini tagger on pictures drawn for it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from enogu.core.records.progress import Progress
from enogu.core.records.seed import derive
from enogu.mini.config import TaggerConfig
from enogu.mini.tagger_labels import labels
from enogu.mini.tagger_net import TaggerNet
from enogu.mini.tagger_pictures import augmented, training_set
from enogu.mini.unfinished import Unfinished

STATE_EVERY = 200  # updates between saves of the unfinished run
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


def train_tagger(config: TaggerConfig, pictures: Tensor, tags: Tensor, *, state: Path, progress: Progress) -> TaggerNet:
    """Train, or go on, with AdamW under one cycle (Smith, 2018), in bfloat16 where torch has kernels for it."""
    net = _fresh(tags.shape[1], config.width, derive(config.seed, "tagger.init"))
    optimizer = torch.optim.AdamW(net.parameters(), lr=config.rate, weight_decay=config.decay)
    an_epoch = len(pictures) // config.batch or 1
    steps = config.epochs * an_epoch
    unfinished = Unfinished(state, net, optimizer)
    first = unfinished.restore()
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.rate, total_steps=steps, pct_start=0.15)
    for _ in range(first):  # there is no gradient yet, so only the schedule moves
        optimizer.step()
        schedule.step()
    for step in range(first, steps):
        epoch, batch = divmod(step, an_epoch)
        rows = _order(config, len(pictures), epoch)[batch * config.batch :][: config.batch]
        rng = torch.Generator().manual_seed(derive(config.seed, "tagger.augment", step))
        with torch.autocast("cpu", torch.bfloat16, enabled=_has_bfloat16()):
            logits = net(augmented(pictures[rows], rng))
        wanted = tags[rows] * (1 - SMOOTHING) + SMOOTHING / 2
        loss = F.binary_cross_entropy_with_logits(logits.float(), wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if (step + 1) % STATE_EVERY == 0:
            unfinished.keep(step + 1)
        progress(min(len(pictures) * config.epochs, (step + 1) * config.batch), len(pictures) * config.epochs, "images")
    return net.eval()


def _order(config: TaggerConfig, pictures: int, epoch: int) -> Tensor:
    return torch.randperm(pictures, generator=torch.Generator().manual_seed(derive(config.seed, "tagger.order", epoch)))


def _fresh(tags: int, width: float, seed: int) -> TaggerNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TaggerNet(tags, width).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _has_bfloat16() -> bool:
    asked = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)  # builds without oneDNN lack it
    return bool(asked and asked())
