"""What methods learn of whole tensors before they merge: inner products and order statistics, piece by piece.

Sums run over blocks of one fixed size in one order, so that neither pieces nor threads change a bit of them.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from enogu.merge.method import Pieces

BLOCK = 1 << 16  # elements per partial sum
DIGIT = 16  # bits that one pass of a radix selection settles


def gram(pieces: Pieces) -> Tensor:
    """Return the inner products of the flattened arguments, in float64."""
    total: Tensor | None = None
    for block in _blocks(pieces):
        part = block @ block.T
        total = part if total is None else total + part
    assert total is not None
    return total


def weighted(tensors: Sequence[Tensor], coefficients: Sequence[float] | Tensor) -> Tensor:
    """Return the sum of tensors times coefficients."""
    total = torch.zeros_like(tensors[0])
    for tensor, coefficient in zip(tensors, coefficients, strict=True):
        total = total + tensor * float(coefficient)
    return total


def total(pieces: Pieces, of: Callable[[list[Tensor]], Sequence[Tensor]]) -> Tensor:
    """Return the sums over all elements of what `of` makes of a block, in float64."""

    def made() -> Iterator[list[Tensor]]:
        for piece in pieces():
            yield list(of(piece))

    sums: Tensor | None = None
    for block in _blocks(made):
        part = block.sum(dim=1)
        sums = part if sums is None else sums + part
    assert sums is not None
    return sums


def cutoffs(pieces: Pieces, keep: float, *, of: Callable[[list[Tensor]], Sequence[Tensor]]) -> Tensor:
    """Return per result of `of` the value that a share `keep` of its elements reaches: exact, without a sort.

    `of` must give numbers of at least 0. Radix selection on the bit pattern: positive floats sort as integers do.
    At least one element reaches the value, however small the tensor.
    """
    probe = list(of(next(iter(pieces()))))
    integer, width = (torch.int64, 64) if probe[0].dtype == torch.float64 else (torch.int32, 32)
    prefixes, wanted = [0] * len(probe), [0] * len(probe)
    for shift in range(width - DIGIT, -1, -DIGIT):
        counts = torch.zeros(len(probe), 1 << DIGIT, dtype=torch.int64)
        for piece in pieces():
            for row, values in enumerate(of(piece)):
                bits = values.reshape(-1).view(integer)
                if shift < width - DIGIT:
                    bits = bits[(bits >> (shift + DIGIT)) == prefixes[row]]
                counts[row] += torch.bincount((bits >> shift) & ((1 << DIGIT) - 1), minlength=1 << DIGIT)
        for row, histogram in enumerate(counts):
            if shift == width - DIGIT:
                wanted[row] = share(int(histogram.sum()), keep)
            digit, above = _digit(histogram, wanted[row])
            prefixes[row], wanted[row] = prefixes[row] << DIGIT | digit, wanted[row] - above
    return torch.tensor(prefixes, dtype=integer).view(probe[0].dtype)


def share(count: int, keep: float) -> int:
    """Return how many of `count` elements a share is: rounded, but at least one."""
    return min(max(int(count * keep + 0.5), 1), count)


def _digit(histogram: Tensor, wanted: int) -> tuple[int, int]:
    """Return the digit that holds the `wanted`-th largest, and how many lie above it."""
    above = histogram.flip(0).cumsum(0)
    place = int(torch.searchsorted(above, wanted))
    return len(histogram) - 1 - place, int(above[place - 1]) if place else 0


def _blocks(pieces: Pieces) -> Iterator[Tensor]:
    """Cut pieces again into blocks of one size: (arguments, elements), in float64."""
    rest: Tensor | None = None
    for piece in pieces():
        stack = torch.stack([tensor.reshape(-1).double() for tensor in piece])
        rest = stack if rest is None else torch.cat([rest, stack], dim=1)
        whole = rest.shape[1] - rest.shape[1] % BLOCK
        yield from (rest[:, start : start + BLOCK] for start in range(0, whole, BLOCK))
        rest = rest[:, whole:]
    if rest is not None and rest.shape[1]:
        yield rest
