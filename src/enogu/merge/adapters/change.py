"""The forms in which adapters hold a weight's change: each gives any of its rows without making the whole.

A convolution's rows are its output channels; the rest of its axes are one. Factors are kept as the file has them and
widened to the precision of the arithmetic when rows are asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Change(Protocol):
    """A matrix that is added to a weight."""

    @property
    def shape(self) -> tuple[int, int]:
        """Return rows and columns."""

    def rows(self, start: int, stop: int) -> Tensor:
        """Return rows [start, stop)."""


@dataclass(frozen=True)
class LowRank:
    """scale · up · down (Hu et al. 2021, arXiv 2106.09685)."""

    up: Tensor
    down: Tensor
    scale: float

    def __post_init__(self) -> None:
        """Refuse factors of two ranks."""
        if self.up.shape[1] != self.down.shape[0]:
            raise ValueError(f"ranks {self.up.shape[1]} and {self.down.shape[0]}")

    @property
    def shape(self) -> tuple[int, int]:
        """Return rows and columns."""
        return self.up.shape[0], self.down.shape[1]

    def rows(self, start: int, stop: int) -> Tensor:
        """Return rows [start, stop)."""
        return (self.up[start:stop] @ self.down).mul_(self.scale)


@dataclass(frozen=True)
class Hadamard:
    """The elementwise product of two low-rank matrices: LoHa (Hyeon-Woo et al. 2021, arXiv 2108.06098)."""

    first: LowRank
    second: LowRank

    def __post_init__(self) -> None:
        """Refuse halves of two shapes."""
        if self.first.shape != self.second.shape:
            raise ValueError(f"halves of {self.first.shape} and {self.second.shape}")

    @property
    def shape(self) -> tuple[int, int]:
        """Return rows and columns."""
        return self.first.shape

    def rows(self, start: int, stop: int) -> Tensor:
        """Return rows [start, stop)."""
        return self.first.rows(start, stop).mul_(self.second.rows(start, stop))


@dataclass(frozen=True)
class Kronecker:
    """scale · kron(first, second): LoKr (Yeh et al. 2023, arXiv 2309.14859); `second` keeps its kernel axes."""

    first: Tensor  # (a, b)
    second: Tensor  # (c, d, kernel), whose kernel has one element if the weight is a matrix
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """Return rows and columns."""
        c, d, kernel = self.second.shape
        return self.first.shape[0] * c, self.first.shape[1] * d * kernel

    def rows(self, start: int, stop: int) -> Tensor:
        """Return rows [start, stop)."""
        each = torch.arange(start, stop)
        left = self.first[each // self.second.shape[0]][:, :, None, None]
        right = self.second[each % self.second.shape[0]][:, None]
        return (left * right).reshape(stop - start, -1).mul_(self.scale)


@dataclass(frozen=True)
class Full:
    """The change itself."""

    matrix: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Return rows and columns."""
        return self.matrix.shape[0], self.matrix.shape[1]

    def rows(self, start: int, stop: int) -> Tensor:
        """Return rows [start, stop)."""
        return self.matrix[start:stop].clone()


@dataclass(frozen=True)
class Stored:
    """The change itself, left in its file until rows are asked for."""

    read: Callable[[int, int], Tensor]
    shape: tuple[int, int]

    def rows(self, start: int, stop: int) -> Tensor:
        """Return rows [start, stop)."""
        return self.read(start * self.shape[1], stop * self.shape[1]).reshape(-1, self.shape[1])
