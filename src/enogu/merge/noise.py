"""Uniform numbers by counter (Philox): the i-th depends on the stream and on i alone."""

import numpy as np
import torch
from torch import Tensor

_PER_COUNTER = 8  # a Philox-4x64 counter yields four 64-bit words: eight 32-bit numbers


def uniform(stream: int, start: int, count: int) -> Tensor:
    """Return numbers [start, start + count) of a stream, as float32 multiples of 2^-24 in [0, 1)."""
    first = start // _PER_COUNTER
    skip = start - first * _PER_COUNTER
    counters = -(-(skip + count) // _PER_COUNTER)
    words = np.random.Philox(key=stream, counter=first).random_raw(counters * 4)
    words = np.asarray(words, dtype="<u8").view("<u4")[skip : skip + count]
    return torch.from_numpy((words >> np.uint32(8)).astype(np.float32)).mul_(2.0**-24)
