"""What a frozen text encoder answers to every caption, computed once and read from shards in its place.

A record is (1, tokens, width) in the form of core/records/shards.py, whose shapes are in pixels: 8 for each. Its key
names what is said, the encoder and the layers that it skips; a run that goes on computes only what is missing.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from enogu.core.networks.checkpoint import TEXT
from enogu.core.records.errors import Refused
from enogu.core.records.journal import Entry
from enogu.core.records.progress import Progress
from enogu.core.records.shards import FACTOR, Shards, ShardWriter
from enogu.train.config import TrainConfig
from enogu.train.data import Captions, LatentSet, encode

AT_ONCE = 64  # captions


class Variants:
    """Captions of which each post has only a few: those of the first epochs, over and over."""

    def __init__(self, captions: Captions, count: int) -> None:
        """Take the first `count` variants."""
        self._captions, self._count = captions, count

    def caption(self, post: int, *, epoch: int, set: str = "tags") -> str:
        """Return what the model reads for a post in an epoch."""
        return self._captions.caption(post, epoch=epoch % self._count, set=set)

    def plain(self, post: int, set: str = "tags") -> str:
        """Return the caption with nothing dropped or shuffled."""
        return self._captions.plain(post, set)


class TextOutputs:
    """Outputs (B, n * 77, C) of one encoder by tokens (B, n, 77), kept in a folder as float16."""

    def __init__(self, folder: Path, encoder: str, compute: Callable[[Tensor], Tensor]) -> None:
        """Go on with what is there; `encoder` names the encoder and its settings."""
        self._folder, self._encoder, self._compute = folder, encoder, compute
        self._rows: dict[str, int] = {}

    def __call__(self, tokens: Tensor) -> Tensor:
        """Return what is kept for tokens."""
        keys = [self._key(one) for one in tokens]
        if strange := [key for key in keys if key not in self._rows]:
            raise Refused(
                f"{len(strange)} captions of a batch have no text output kept in {self._folder}: the captions differ "
                "more than text_variants allows for; set it to 0"
            )
        found = self._shards.read(np.array([self._rows[key] for key in keys]))
        return torch.from_numpy(found[:, 0].astype(np.float32))

    def fill(self, said: Iterator[tuple[int, str]], *, chunks: int, total: int, progress: Progress) -> None:
        """Compute what is missing of (post, caption), and open all for reading."""
        writer = ShardWriter(self._folder)
        known, done = set(writer.stored()["key"]), 0
        while some := list(islice(said, AT_ONCE)):
            tokens = encode([text for _, text in some], chunks)
            keyed = {self._key(one): (post, one) for (post, _), one in zip(some, tokens, strict=True)}
            missing = {key: found for key, found in keyed.items() if key not in known}
            if missing:
                outputs = self._compute(torch.stack([one for _, one in missing.values()])).half().cpu().numpy()
                entries = [_entry(post, key, outputs.shape[1:]) for key, (post, _) in missing.items()]
                writer.append(entries, list(outputs[:, None]))
            known.update(missing)
            done += len(some)
            progress(done, total, "captions read by the text encoder")
        writer.finish(writer.stored())
        self._shards = Shards(self._folder)
        self._rows = {key: row for row, key in enumerate(self._shards.columns("key")["key"])}

    def _key(self, tokens: Tensor) -> str:
        return hashlib.blake2b(self._encoder.encode() + tokens.numpy().tobytes(), digest_size=16).hexdigest()


def encoder_name(tensors: Mapping[str, Tensor], config: TrainConfig) -> str:
    """Return what names a checkpoint's text encoder and how it is used."""
    digest = hashlib.sha256(f"clip skip {config.clip_skip}, {config.precision}".encode())
    for name in sorted(name for name in tensors if name.startswith(TEXT)):
        digest.update(name.encode() + tensors[name].float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def captions_of(config: TrainConfig, captions: Captions, latents: Mapping[str, LatentSet]) -> Iterator[tuple[int, str]]:
    """Yield (post, caption) for all that a run will read: every variant of its sets, and what validation reads."""
    for name, set in _read(config):
        for post in latents[name].train["post"].unique():
            for epoch in range(config.text_variants):
                yield post, captions.caption(post, epoch=epoch, set=set)
        for post in latents[name].held_out["post"]:
            yield post, captions.plain(post, set)


def number_of(config: TrainConfig, latents: Mapping[str, LatentSet]) -> int:
    """Return how many captions those are."""
    sets = [latents[name] for name, _ in _read(config)]
    return sum(data.pictures * config.text_variants + len(data.held_out) for data in sets)


def _read(config: TrainConfig) -> list[tuple[str, str]]:
    """Return the latents and the caption set of each phase, once."""
    return sorted({(phase.latents or config.latents[0], phase.captions) for phase in config.phases})


def _entry(post: int, key: str, shape: tuple[int, ...]) -> Entry:
    tokens, width = shape
    size = {"width": width * FACTOR, "height": tokens * FACTOR, "original_width": width, "original_height": tokens}
    return Entry(post=post, flipped=False, key=key, crop_left=0, crop_top=0, **size)
