"""A matrix as the product of two thin ones: the strongest directions of its randomised SVD."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from enogu.core.networks.finite import is_finite
from enogu.core.records.errors import Failed
from enogu.merge.lowrank import strongest

ROWS = 1 << 16  # elements of the product made at once to measure what is lost


@dataclass(frozen=True)
class Limits:
    """How many directions to keep: at most `rank`, fewer if they hold the share `energy`, none below `threshold`."""

    rank: int
    energy: float
    threshold: float

    def kept(self, sigma: Tensor, total: float) -> int:
        """Return how many of the leading singular values to keep, at least one; `total` is the sum of all squares."""
        squares = sigma.double().square()
        strong = int((sigma >= self.threshold * sigma[0]).sum())
        short = int((squares.cumsum(0) < self.energy * total).sum()) + 1 if self.energy < 1.0 else len(sigma)
        return max(min(self.rank, strong, short, len(sigma)), 1)


@dataclass(frozen=True)
class Factors:
    """up · down, each taking half of the singular values, and the squared size of what they miss."""

    up: Tensor
    down: Tensor
    lost: float

    @property
    def rank(self) -> int:
        """Return the number of directions."""
        return self.up.shape[1]


def factor(matrix: Tensor, limits: Limits, *, dtype: torch.dtype, seed: int) -> Factors:
    """Factor a matrix; what is lost is measured after rounding."""
    total = squared(matrix)
    u, sigma, v = _decomposed(matrix, min(limits.rank, *matrix.shape), seed)
    rank = limits.kept(sigma, total)
    half = sigma[:rank].sqrt()
    up, down = (u[:, :rank] * half).to(dtype), (half[:, None] * v[:rank]).to(dtype)
    if not (is_finite(up) and is_finite(down)):
        raise Failed(f"the factors do not fit into {str(dtype).removeprefix('torch.')}; choose bf16 or fp32")
    return Factors(up, down, _lost(matrix, up.float(), down.float()))


def squared(values: Tensor) -> float:
    """Return the sum of squares in float64, without widening everything at once."""
    flat = values.reshape(-1)
    parts = (flat[start : start + ROWS].double() for start in range(0, len(flat), ROWS))
    return math.fsum(float(part @ part) for part in parts)


def _decomposed(matrix: Tensor, rank: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    try:
        return strongest(matrix, rank, seed=seed)
    except RuntimeError:  # LAPACK's divide and conquer gives up on some float32 matrices
        u, sigma, v = strongest(matrix.double(), rank, seed=seed)
        return u.float(), sigma.float(), v.float()


def _lost(matrix: Tensor, up: Tensor, down: Tensor) -> float:
    step = max(ROWS // matrix.shape[1], 1)
    starts = range(0, len(matrix), step)
    return math.fsum(squared(matrix[at : at + step] - up[at : at + step] @ down) for at in starts)
