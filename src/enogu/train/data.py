"""Batches of a phase: moments, captions as tokens, and which image of the run each one is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import nsmallest
from typing import Protocol

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from enogu.core.networks.chunks import chunk_tokens
from enogu.core.networks.tokenizer import tokenize
from enogu.core.records.errors import Refused
from enogu.core.records.seed import derive, generator
from enogu.core.records.shards import FACTOR, Shards

CANDIDATES = 100_000  # posts among which those to hold out are drawn
Plan = Callable[..., list[NDArray[np.int64]]]


class Captions(Protocol):
    """What training asks of a captions record."""

    def caption(self, post: int, *, epoch: int, set: str = "tags") -> str:
        """Return what the model reads for a post in an epoch."""

    def plain(self, post: int, set: str = "tags") -> str:
        """Return the caption with nothing dropped or shuffled."""


@dataclass(frozen=True)
class Batch:
    """One update's data: moments (B, 2C, h, w), tokens (B, n, 77)."""

    moments: Tensor
    tokens: Tensor
    epoch: int
    number: int  # of the batch within the epoch


class LatentSet:
    """A latents record divided into training and validation by post."""

    def __init__(self, shards: Shards, *, held_out: int, seed: int) -> None:
        """Read the index; the same posts are held out of every record of the same posts."""
        self.shards = shards
        rows = self.shards.columns("post", "width", "height", "margin", "flipped").with_row_index("shard_row")
        posts = rows["post"].set_sorted().unique()
        if len(posts) <= held_out:
            raise Refused(f"validation = {held_out} posts leaves nothing of {len(posts)} to train on; hold out fewer")
        stride = 1 << (len(posts) // CANDIDATES).bit_length()  # 1 where they are few: a hash takes a microsecond
        some = posts.filter(posts % stride == 0)
        drawn = some if len(some) > held_out else posts
        held = pl.col("post").is_in(nsmallest(held_out, drawn, key=lambda post: derive(seed, "validation", post)))
        self.train = rows.filter(~held)
        self.held_out = rows.filter(held & ~pl.col("flipped")).sort("post")
        self.pictures = len(posts) - held_out  # that an epoch shows

    def read(
        self, frame: pl.DataFrame, rows: NDArray[np.int64], *, crop: tuple[int, int] | None = None
    ) -> tuple[Tensor, list[int]]:
        """Return the moments (B, 2C, h, w) float32 and the posts of some rows of one bucket.

        Records with a margin are cropped in the middle, or by chance from `crop`: seed and epoch.
        """
        chosen = frame[rows]
        corners = _corners(chosen, *crop) if crop and chosen["margin"][0] else None
        moments = self.shards.read(chosen["shard_row"].to_numpy(), corners=corners)
        return torch.from_numpy(moments.astype(np.float32)), chosen["post"].to_list()


def batches(
    data: LatentSet,
    captions: Captions,
    plan: Plan,
    *,
    batch: int,
    seed: int,
    chunks: int,
    set: str,
    at: tuple[int, int],
) -> Iterator[Batch]:
    """Yield batches without end, from a given (epoch, number of the batch in it)."""
    epoch, first = at
    while True:
        cut = plan(data.train, batch=batch, seed=seed, epoch=epoch)
        for number in range(first, len(cut)):
            moments, posts = data.read(data.train, cut[number], crop=(seed, epoch))
            said = [captions.caption(post, epoch=epoch, set=set) for post in posts]
            yield Batch(moments, encode(said, chunks), epoch, number)
        epoch, first = epoch + 1, 0


def _corners(chosen: pl.DataFrame, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return left and top of every record's crop in an epoch, in latents."""
    places = chosen["margin"][0] // FACTOR + 1
    drawn = [generator(seed, "crop", epoch, post).integers(places, size=2) for post in chosen["post"]]
    return np.array(drawn, np.int64)


def encode(captions: list[str], chunks: int) -> Tensor:
    """Return the tokens (B, chunks, 77) of captions."""
    return torch.from_numpy(np.stack([chunk_tokens(tokenize(text), chunks=chunks) for text in captions]))
