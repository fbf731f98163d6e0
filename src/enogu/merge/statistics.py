"""What methods learn of whole tensors before they merge: inner products and order statistics, piece by piece.

Sums run over blocks of one fixed size in one order, so that neither pieces nor threads change a bit of them.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from enogu.merge.loops import gather
from enogu.merge.method import Pieces

BLOCK = 1 << 16  # elements per partial sum
TRIES = 2  # brackets before the way that cannot fail
MARGIN = 3.0  # deviations of a rank in a fair sample: a miss, once in some hundred tensors, costs a pass
GATHERED = 1 << 22  # elements of an interval that are kept; where many are equal, histograms need less memory
CANDIDATES = 1 << 20  # elements that a selection by histograms looks at one by one
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


def mixture(parts: Sequence[Any], coefficients: Sequence[float] | Tensor) -> Any:
    """Return the sum of combinations, or of tensors, times coefficients."""
    return sum(part * float(coefficient) for part, coefficient in zip(parts, coefficients, strict=True))


def weighted(tensors: Sequence[Tensor], coefficients: Sequence[float] | Tensor) -> Tensor:
    """Return the sum of tensors times coefficients."""
    first, *others = zip(tensors, map(float, coefficients), strict=True)
    result = first[0] * first[1]
    for tensor, coefficient in others:
        result.add_(tensor, alpha=coefficient)
    return result


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


def cutoffs(pieces: Pieces, keep: float, *, of: Callable[[list[Tensor]], Sequence[Tensor]] = list) -> Tensor:
    """Return per result of `of` the size that a share `keep` of its elements reaches: exact, without a sort.

    At least one element reaches it, however small the tensor.
    A sample from all over the tensor brackets the size, and one pass counts what lies above and looks at what lies
    within (Floyd and Rivest 1975). After a miss, that count tells how far the sample is off.
    """
    parts = ([part.reshape(-1).abs() for part in of(piece)] for piece in pieces(sample=True))
    samples = [torch.cat(column).numpy() for column in zip(*parts, strict=True)]
    brackets = [Bracket.around(sample, keep) for sample in samples]
    for _ in range(TRIES):
        for row, values in _each(pieces, of):
            brackets[row].look(values.reshape(-1).numpy())
        answers = [bracket.answer(keep) for bracket in brackets]
        if None not in answers:
            return torch.from_numpy(np.array(answers, dtype=samples[0].dtype))
        brackets = [bracket.corrected(sample, keep) for bracket, sample in zip(brackets, samples, strict=True)]
    return _radix(pieces, keep, of=of)


class Gathered:
    """A growing array in one piece: many small ones between large temporaries leave memory in tatters."""

    def __init__(self, values: "np.ndarray[Any, Any]") -> None:
        """Begin with some values."""
        self._room, self._count = values.copy(), len(values)

    def append(self, values: "np.ndarray[Any, Any]") -> None:
        """Take more values."""
        if self._count + len(values) > len(self._room):
            grown = np.empty(max(2 * (self._count + len(values)), 1 << 15), dtype=values.dtype)
            grown[: self._count] = self.values
            self._room = grown
        self._room[self._count : self._count + len(values)] = values
        self._count += len(values)

    @property
    def values(self) -> "np.ndarray[Any, Any]":
        """Return what was gathered."""
        return self._room[: self._count]


class Bracket:
    """An open interval that should hold an order statistic, and what a pass finds of the elements in and above it."""

    def __init__(self, low: float, high: float, dtype: "np.dtype[Any]") -> None:
        """Begin with no elements seen; the interval holds `low` and `high` themselves."""
        self.low = np.nextafter(dtype.type(low), dtype.type(-np.inf))
        self.high = np.nextafter(dtype.type(high), dtype.type(np.inf))
        self._single = low == high  # one value that many elements have need not be gathered
        self._count, self._above, self._inside = 0, 0, 0
        self._within = Gathered(np.full(int(self._single), low, dtype=dtype))
        self._found = np.empty(0, dtype=dtype)

    @staticmethod
    def around(sample: "np.ndarray[Any, Any]", keep: float, *, slack: float = 0.0) -> "Bracket":
        """Return bounds that most probably hold the value, if the sample's share is off by no more than `slack`."""
        count = len(sample)
        rank = share(count, keep) - 1  # from the largest down
        margin = int(MARGIN * (count * keep * (1.0 - keep)) ** 0.5 + slack * count) + 2
        places = sorted({count - 1 - min(rank + margin, count - 1), count - 1 - max(rank - margin, 0)})
        ordered = np.partition(sample, places)
        return Bracket(float(ordered[places[0]]), float(ordered[places[-1]]), sample.dtype)

    def look(self, values: "np.ndarray[Any, Any]") -> None:
        """Count a piece, and gather what lies inside as long as that is little."""
        if len(values) > len(self._found):
            self._found = np.empty_like(values)
        above, inside = gather(values, (self.low, self.high), self._found)
        self._count += len(values)
        self._above += above
        self._inside += inside
        if not self._single and self._inside <= GATHERED:
            self._within.append(self._found[:inside])

    def holds(self, sample: "np.ndarray[Any, Any]") -> float:
        """Return the share of a sample that lies within."""
        return float(np.count_nonzero((self.low < sample) & (sample < self.high))) / max(len(sample), 1)

    def counted(self, count: int, above: int) -> None:
        """Take another's word for how many elements there are, and how many above; only some were looked at."""
        self._count, self._above = count, above

    def corrected(self, sample: "np.ndarray[Any, Any]", keep: float) -> "Bracket":
        """Return bounds for the next pass: how much lies above tells which share of the sample `keep` stands for."""
        above = int(np.count_nonzero(sample >= self.high)) / len(sample)
        likely = min(keep * above / (self._above / self._count), 1.0) if self._above else keep
        return Bracket.around(sample, likely, slack=abs(likely - keep) / 2.0)

    def answer(self, keep: float) -> float | None:
        """Return the value, or None if it lies outside of the interval, or in too dense a one."""
        wanted, within = share(self._count, keep), self._within.values
        if not self._above < wanted <= self._above + self._inside:
            return None
        if self._single:
            return float(within[0])
        if len(within) < self._inside:
            return None
        place = len(within) - (wanted - self._above)
        return float(np.partition(within, place)[place])


def _radix(pieces: Pieces, keep: float, *, of: Callable[[list[Tensor]], Sequence[Tensor]]) -> Tensor:
    """Return the same by histograms of leading bits, whatever the data: positive floats sort as integers do."""
    probe = list(of(next(iter(pieces()))))
    integer, ladder = _LADDERS[probe[0].dtype]
    rows = [_Selection() for _ in probe]
    for top, bottom in pairwise(ladder):
        for selection in rows:
            selection.begin(top, bottom)
        for row, values in _each(pieces, of):
            rows[row].count(values.reshape(-1).abs().view(integer))
        if max(selection.narrow(keep) for selection in rows) <= CANDIDATES:
            break
    else:
        return torch.tensor([selection.prefix for selection in rows], dtype=integer).view(probe[0].dtype)
    for row, values in _each(pieces, of):
        rows[row].gather(values.reshape(-1).abs().view(integer))
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


def _blocks(pieces: Callable[[], Iterator[list[Tensor]]]) -> Iterator[Tensor]:
    """Cut pieces again into blocks of one size: (arguments, elements), in float64; one is gone when the next comes."""
    block, filled = torch.empty(0), 0
    for piece in pieces():
        if not len(block):
            block = torch.empty(len(piece), BLOCK, dtype=torch.float64)
        flat, start = [tensor.reshape(-1) for tensor in piece], 0
        while start < len(flat[0]):
            count = min(BLOCK - filled, len(flat[0]) - start)
            for row, values in zip(block, flat, strict=True):
                row[filled : filled + count] = values[start : start + count]
            start, filled = start + count, filled + count
            if filled == BLOCK:
                yield block
                filled = 0
    if filled:
        yield block[:, :filled]
