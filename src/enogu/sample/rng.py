"""Where a picture's noise comes from, under A1111's names: one stream per picture, so batches change nothing."""

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Shape = tuple[int, ...]
Stream = Callable[[Shape], Tensor]

MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], np.uint64)  # Salmon et al. 2011, Philox4x32
KEY_STEPS = np.array([0x9E3779B9, 0xBB67AE85], np.uint64)
ROUNDS = 10
MASK = np.uint64(0xFFFFFFFF)


def cpu(seed: int) -> Stream:
    """A1111's "CPU": torch's Mersenne twister."""
    generator = torch.Generator().manual_seed(seed)
    return lambda shape: torch.randn(shape, generator=generator)


def nv(seed: int) -> Stream:
    """A1111's "NV": Philox as CUDA counts it, which repeats a small picture's noise of its default "GPU"."""
    offsets = iter(range(1 << 32))
    return lambda shape: torch.from_numpy(_philox_normals(seed, next(offsets), shape))


SOURCES = MappingProxyType({"CPU": cpu, "NV": nv})


def _philox_normals(seed: int, offset: int, shape: Shape) -> NDArray[np.float32]:
    count = int(np.prod(shape))
    counter = np.zeros((4, count), np.uint64)
    counter[0], counter[2] = offset, np.arange(count)
    x, y, *_ = _philox(counter, np.array([seed, 0], np.uint64)).astype(np.float32)
    uniform, angle = (x + np.float32(0.5)) * np.float32(2**-32), (y + np.float32(0.5)) * np.float32(2**-32 * 2 * np.pi)
    normals: NDArray[np.float32] = np.sqrt(-2 * np.log(uniform)) * np.sin(angle)
    return normals.reshape(shape)


def _philox(counter: NDArray[np.uint64], key: NDArray[np.uint64]) -> NDArray[np.uint64]:
    a, b, c, d = counter
    for round_ in range(ROUNDS):
        low, high = (key + KEY_STEPS * np.uint64(round_)) & MASK
        first, second = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a, b, c, d = (
            (second >> np.uint64(32)) ^ b ^ low,
            second & MASK,
            (first >> np.uint64(32)) ^ d ^ high,
            first & MASK,
        )
    return np.stack([a, b, c, d])
