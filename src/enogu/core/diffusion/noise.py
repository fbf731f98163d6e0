"""Counter-based normal noise: a function of its key alone, so batch, order and resume never change it."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def noise(key: int, shape: tuple[int, ...]) -> Tensor:
    """Return float32 standard normals from Philox (Salmon et al. 2011) under a key of up to 128 bits."""
    generator = np.random.Generator(np.random.Philox(key=key))
    return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))


def noise_batch(keys: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """Return one noise per key, stacked along a new first axis."""
    return torch.stack([noise(key, shape) for key in keys])
