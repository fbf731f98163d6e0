"""What methods learn of whole tensors before they merge: inner products and order statistics, piece by piece.

Sums run over blocks of one fixed size in one order, so that neither pieces nor threads change a bit of them.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from enogu.merge.method import Pieces

BLOCK = 1 << 16  # elements per partial sum
CANDIDATES = 1 << 20  # elements that a selection looks at one by one
_LADDERS = {  # the bits at which a radix selection's digits begin; the sign is never set
    torch.float32: (torch.int32, (31, 20, 10, 0)),
    torch.float64: (torch.int64, (63, 52, 42, 31, 20, 10, 0)),
}


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

    `of` must give numbers of at least 0. Radix selection on the bit pattern, since positive floats sort as
    integers do: histograms of leading bits until few candidates are left, which are then looked at.
    At least one element reaches the value, however small the tensor.
    """
    probe = list(of(next(iter(pieces()))))
    integer, ladder = _LADDERS[probe[0].dtype]
    rows = [_Selection() for _ in probe]
    for top, bottom in pairwise(ladder):
        for selection in rows:
            selection.begin(top, bottom)
        for row, values in _each(pieces, of):
            rows[row].count(values.reshape(-1).view(integer))
        if max(selection.narrow(keep) for selection in rows) <= CANDIDATES:
            break
    else:
        return torch.tensor([selection.prefix for selection in rows], dtype=integer).view(probe[0].dtype)
    for row, values in _each(pieces, of):
        rows[row].gather(values.reshape(-1).view(integer))
    return torch.stack([selection.answer() for selection in rows]).view(probe[0].dtype)


def share(count: int, keep: float) -> int:
    """Return how many of `count` elements a share is: rounded, but at least one."""
    return min(max(int(count * keep + 0.5), 1), count)


def _each(pieces: Pieces, of: Callable[[list[Tensor]], Sequence[Tensor]]) -> Iterator[tuple[int, Tensor]]:
    for piece in pieces():
        yield from enumerate(of(piece))


class _Selection:
    """The search for the `wanted`-th largest: the leading bits found so far, and what shares them."""

    def __init__(self) -> None:
        self.prefix, self.wanted = 0, 0
        self.found: list[Tensor] = []

    def begin(self, top: int, bottom: int) -> None:
        """Turn to the bits from `bottom` up to `top`; those above are settled."""
        self.top, self.bottom = top, bottom
        self.counts = torch.zeros(1 << (top - bottom), dtype=torch.int64)

    def count(self, bits: Tensor) -> None:
        """Count the digits of elements that share the prefix."""
        if self.wanted:
            bits = bits[(bits >> self.top) == self.prefix]
        digits = (bits >> self.bottom) & (len(self.counts) - 1)
        self.counts += torch.bincount(digits, minlength=len(self.counts))

    def narrow(self, keep: float) -> int:
        """Settle a digit; return how many candidates are left."""
        self.wanted = self.wanted or share(int(self.counts.sum()), keep)
        above = self.counts.flip(0).cumsum(0)
        place = int(torch.searchsorted(above, self.wanted))
        self.wanted -= int(above[place - 1]) if place else 0
        digit = len(self.counts) - 1 - place
        self.prefix = self.prefix << (self.top - self.bottom) | digit
        return int(self.counts[digit])

    def gather(self, bits: Tensor) -> None:
        """Keep the elements that share the prefix."""
        self.found.append(bits[(bits >> self.bottom) == self.prefix])

    def answer(self) -> Tensor:
        """Return the bits of the element that was sought."""
        found = torch.cat(self.found)
        return found.kthvalue(len(found) - self.wanted + 1).values


def _blocks(pieces: Pieces) -> Iterator[Tensor]:
    """Cut pieces again into blocks of one size: (arguments, elements), in float64."""
    rest: Tensor | None = None
    for piece in pieces():
        stack = torch.stack([tensor.reshape(-1).double() for tensor in piece])
        rest = stack if rest is None or not rest.shape[1] else torch.cat([rest, stack], dim=1)
        whole = rest.shape[1] - rest.shape[1] % BLOCK
        yield from (rest[:, start : start + BLOCK] for start in range(0, whole, BLOCK))
        rest = rest[:, whole:]
    if rest is not None and rest.shape[1]:
        yield rest
