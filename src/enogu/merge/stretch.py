"""Where a piece lies in its tensor: rows, and random numbers that depend on (seed, key, element) alone."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from enogu.core.records.seed import derive

_PER_COUNTER = 8  # a Philox-4x64 counter yields four 64-bit words: eight 32-bit numbers


def uniform(stream: int, start: int, count: int) -> Tensor:
    """Return numbers [start, start + count) of a stream, as float32 multiples of 2^-24 in [0, 1)."""
    first = start // _PER_COUNTER
    skip = start - first * _PER_COUNTER
    counters = -(-(skip + count) // _PER_COUNTER)
    words = np.random.Philox(key=stream, counter=first).random_raw(counters * 4)
    words = np.asarray(words, dtype="<u8").view("<u4")[skip : skip + count] >> np.uint32(8)
    return torch.from_numpy(words.view(np.int32)).to(torch.float32).mul_(2.0**-24)


@dataclass(frozen=True)
class Stretch:
    """A piece that begins at the element `start` of a tensor; `names` tells the tensors of a call apart."""

    seed: int
    key: str
    start: int
    shape: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def row(self) -> int:
        """Return the index of the piece's first row along the first axis."""
        return self.start // max(math.prod(self.shape[1:]), 1)

    def uniform(self, index: int, like: Tensor) -> Tensor:
        """Return a number in [0, 1) per element for the `index`-th tensor of the call."""
        stream = derive(self.seed, "merge", self.key, self.names[index])
        return uniform(stream, self.start, like.numel()).reshape(like.shape)
