"""Where a piece lies in its tensor: rows, and random numbers that depend on (seed, key, element) alone."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from enogu.core.records.seed import derive

STEPS = 1 << 16  # of a random number: 16 bits of a generator that costs more than all else of a method
_PER_WORD = 4  # numbers in 64 bits


def draws(stream: int, start: int, count: int) -> "np.ndarray[Any, np.dtype[np.uint16]]":
    """Return numbers [start, start + count) of a stream, evenly spread over 0 to STEPS - 1 (PCG64, O'Neill 2014)."""
    first, skip = divmod(start, _PER_WORD)
    words = np.random.PCG64DXSM(stream).advance(first).random_raw(-(-(skip + count) // _PER_WORD))
    return np.asarray(words, dtype="<u8").view("<u2")[skip : skip + count]


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

    def draws(self, index: int, like: Tensor) -> "np.ndarray[Any, np.dtype[np.uint16]]":
        """Return a number of 0 to STEPS - 1 per element for the `index`-th tensor of the call."""
        stream = derive(self.seed, "merge", self.key, self.names[index])
        return draws(stream, self.start, like.numel()).reshape(like.shape)
