"""The value of a combination over a stretch of one tensor, in the precision of the arithmetic."""

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from enogu.merge.adapters.adapter import Adapter, ColumnSquares, block_rows
from enogu.merge.algebra import Adapted, Applied, Combination, Model, Node
from enogu.merge.inputs import Input
from enogu.merge.linear import BITS, add, is_native
from enogu.merge.loops import Array, differences
from enogu.merge.method import Method
from enogu.merge.stretch import Stretch

SAMPLED, LEAST, MOST = 64, 1 << 12, 1 << 16  # a sample has one of so many elements, within bounds
PLACES = 16  # of a tensor that a sample is taken from


@dataclass(frozen=True)
class Cut:
    """Elements [start, stop) of a tensor, and the readers that have them."""

    start: int
    stop: int
    readers: Mapping[str, Input]
    results: dict[Node, Tensor] = field(default_factory=dict, compare=False)  # of calls that stand in several places
    _widened: dict[str, Tensor] = field(default_factory=dict, compare=False)

    def read(self, model: str, key: str) -> Tensor:
        """Return a model's elements as the file has them, flat; not to be changed, the bytes may be shared."""
        return self.readers[model].stretch(key, self.start, self.stop)

    def stored(self, model: str, key: str) -> torch.dtype:
        """Return the dtype in which the file has a model's elements."""
        return self.readers[model].header.tensors[key].torch_dtype

    def wide(self, model: str, key: str, dtype: torch.dtype) -> Tensor:
        """Return a model's elements in the precision of the arithmetic, made once; not to be changed."""
        if model not in self._widened:
            self._widened[model] = self.read(model, key).to(dtype)
        return self._widened[model]


class Scratch(threading.local):
    """Memory of a thread that one piece leaves to the next: fresh pages cost as much as the arithmetic on them."""

    def __init__(self) -> None:
        """Begin with none."""
        self._held = torch.empty(0)

    def rows(self, rows: int, columns: int) -> Tensor:
        """Return float32 memory of this shape, the same every time."""
        if len(self._held) < rows * columns:
            self._held = torch.empty(rows * columns)
        return self._held[: rows * columns].view(rows, columns)

    def kept(self, result: Tensor) -> Tensor:
        """Return a result in memory that is not used again."""
        shared = result.untyped_storage().data_ptr() == self._held.untyped_storage().data_ptr()
        return result.clone() if shared else result


@dataclass(frozen=True)
class Passes:
    """Ways through a tensor of `count` elements, of which `together` must stay so; `spread` are easily looked into."""

    all: Callable[[], Iterator[Cut]]
    spread: Callable[[], Iterator[Cut]]
    count: int
    together: int

    def __call__(self, *, sample: bool = False) -> Iterator[Cut]:
        """Yield all pieces, or a few short ones from all over the tensor."""
        wanted = min(max(self.count // SAMPLED, LEAST), MOST)
        if not sample or wanted >= self.count:
            yield from self.all()
            return
        width = -(-wanted // (PLACES * self.together)) * self.together
        gap = max(self.count // PLACES // self.together * self.together, width)
        for cut in self.spread():
            for start in range(-(-cut.start // gap) * gap, cut.stop, gap):
                yield Cut(start, min(start + width, cut.stop), cut.readers)


@dataclass
class Evaluation:
    """One tensor of the result; `measured` is filled bottom up, then pieces can be asked for in any order."""

    key: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    seed: int
    repeated: frozenset[str] = frozenset()  # models that the formula reads more than once
    shared: frozenset[Node] = frozenset()  # calls that stand in more than one place
    surveys: Mapping["Asked", Any] = field(default_factory=dict)
    measured: dict[Node, Any] = field(default_factory=dict)
    mixtures: dict[Node, Combination] = field(default_factory=dict)  # that linear methods make of what they measured
    scratch: Scratch = field(default_factory=Scratch)
    _visited: set[Node] = field(default_factory=set)

    def value(self, combination: Combination, cut: Cut) -> Tensor:
        """Return a combination's elements, flat, in memory that nobody else holds."""
        combination = self.settled(combination)
        if not combination.terms:
            return torch.zeros(cut.stop - cut.start, dtype=self.dtype)
        if addends := self.addends(combination, cut):
            total = torch.empty(cut.stop - cut.start)
            add(*addends, total)
            return total
        (first, scale), *others = _ordered(combination)
        total = self._node(first, cut)
        for number, (node, coefficient) in enumerate(others):
            part = self._node(node, cut)
            if number == 0 and scale == 1.0 and abs(coefficient) == 1.0 and total.dtype != part.dtype == self.dtype:
                total = total.to(self.dtype).add_(part, alpha=coefficient)  # two plain loops beat a mixed one
            elif number == 0 and scale == 1.0 and self.dtype in (total.dtype, part.dtype) and _adds(total, part):
                total = torch.add(total, part, alpha=coefficient)  # widened and fused on the way, wherever the cuts are
            else:
                total = self._own(total, scale) if number == 0 else total
                total.add_(part if part.itemsize > 1 else part.to(self.dtype), alpha=coefficient)
        return total if others else self._own(total, scale)

    def _own(self, part: Tensor, scale: float) -> Tensor:
        """Return a copy in the precision of the arithmetic, scaled."""
        wide = part.to(self.dtype, copy=True)
        return wide if scale == 1.0 else wide.mul_(scale)

    def measure(self, combination: Combination, cuts: Passes) -> None:
        """Let every method beneath that must see the whole tensor first do so, innermost first."""
        for node, _ in combination.terms:
            if isinstance(node, Adapted):
                self._measure_adapted(node, cuts)
            if not isinstance(node, Applied) or node in self._visited:
                continue
            self._visited.add(node)
            for tensor in node.tensors:
                self.measure(tensor, cuts)
            if node.method.measure is not None:

                def pieces(*, sample: bool = False, node: Applied = node) -> Iterator[list[Tensor]]:
                    for cut in cuts(sample=sample):
                        yield self._seen(node, cut)

                self.measured[node] = measured = node.method.measure(pieces, **dict(node.options))
                if _is_linear(node):
                    parts = node.method.grouped([self.settled(tensor) for tensor in node.tensors])
                    self.mixtures[node] = node.method(*parts, **dict(node.options), measured=measured)

    def settled(self, combination: Combination) -> Combination:
        """Return a combination with what linear methods make of what they measured."""
        linear = {node: factor for node, factor in combination.terms if _is_linear(node)}
        if not linear:
            return combination
        rest = Combination(tuple(term for term in combination.terms if term[0] not in linear))
        return sum((self.mixtures[node] * factor for node, factor in linear.items()), start=rest)

    def _measure_adapted(self, node: Adapted, cuts: Passes) -> None:
        self.measure(node.weight, cuts)
        if node.measured and node not in self.measured:
            squares: ColumnSquares = {}
            for cut in cuts():
                self._adapter(node, cut).measure(self.key, self.value(node.weight, cut), cut.start, squares=squares)
            self.measured[node] = squares

    def _adapter(self, node: Adapted, cut: Cut) -> Adapter:
        adapter = cut.readers[node.adapter]
        assert isinstance(adapter, Adapter)
        return adapter

    def look(self, node: Applied, cut: Cut) -> Tensor:
        """Return what the survey of a method sees of this tensor, which must be whole."""
        assert node.method.survey is not None
        return node.method.survey.look(*self._arguments(node, cut))

    def _node(self, node: Node, cut: Cut) -> Tensor:
        if isinstance(node, Model):
            again = node.name in self.repeated
            return cut.wide(node.name, self.key, self.dtype) if again else cut.read(node.name, self.key)
        if isinstance(node, Adapted):
            weight, squares = self.value(node.weight, cut), self.measured.get(node, {})
            return self._adapter(node, cut).at(self.key, weight, cut.start, squares=squares)
        if node not in self.shared:
            return self._called(node, cut)
        if node not in cut.results:
            cut.results[node] = self._called(node, cut)
        return cut.results[node]

    def _called(self, node: Applied, cut: Cut) -> Tensor:
        tensors = self._arguments(node, cut)
        lent: dict[str, Any] = {}
        if "measured" in node.method.wants:
            lent["measured"] = self.measured[node]
        if node.method.survey is not None:
            lent["surveyed"] = self.surveys[asked(node)]
        if "elements" in node.method.wants:
            names = tuple(tensor.spelling for tensor in node.tensors)
            lent["elements"] = Stretch(self.seed, self.key, cut.start, self.shape, names)
        result: Tensor = node.method(*node.method.grouped(tensors), **dict(node.options), **lent)
        return self.scratch.kept(result.reshape(-1))

    def _seen(self, node: Applied, cut: Cut) -> list[Tensor]:
        """Return the tensors of a call that measures them: what a linear one sees may be shared."""
        stored = [cut.read(tensor.model.name, self.key) for tensor in node.tensors if tensor.model and _is_linear(node)]
        return stored if len(stored) == len(node.tensors) else self._arguments(node, cut)

    def _arguments(self, node: Applied, cut: Cut) -> list[Tensor]:
        """Return the tensors of a call, in memory that nobody else holds until the next cut."""
        if bits := self.halves(node, cut):
            base, *others = bits
            block = self.scratch.rows(len(others), len(base))
            differences(tuple(others), base, block.numpy())
            return [self._shaped(row, node) for row in block]
        return [self._shaped(self.value(tensor, cut), node) for tensor in node.tensors]

    def addends(self, combination: Combination, cut: Cut) -> tuple[list[Tensor], list[float]] | None:
        """Return the models that a settled sum adds, as they are stored, and their factors; None if it is no such."""
        if self.dtype != torch.float32 or not is_native() or not combination.is_sum:
            return None
        terms = _ordered(combination)
        names = [node.name for node, _ in terms if isinstance(node, Model)]
        if any(cut.stored(name, self.key) not in BITS for name in names):
            return None
        return [cut.read(name, self.key).contiguous() for name in names], [factor for _, factor in terms]

    def halves(self, node: Applied, cut: Cut) -> list[Array]:
        """Return the bits of a base and of the models that a call takes less the base; nothing if it is not such."""
        stored = [cut.read(name, self.key) for name in node.differing]
        fit = self.dtype == torch.float32 and {each.dtype for each in stored} == {torch.float16}
        return [each.view(torch.uint16).numpy() for each in stored] if fit else []

    def _shaped(self, flat: Tensor, node: Applied) -> Tensor:
        if node.method.grain in ("element", "linear"):
            return flat
        if node.method.grain == "tensor" or len(self.shape) < 2:
            return flat.reshape(self.shape)
        return flat.reshape(-1, *self.shape[1:])


def _is_linear(node: Node) -> bool:
    return isinstance(node, Applied) and node.method.grain == "linear"


Asked = tuple[Method, tuple[Combination, ...]]


def asked(node: Applied) -> Asked:
    """Return what calls that share a survey have in common: all but their options."""
    return node.method, node.tensors


@cache
def surveying(combination: Combination) -> tuple[Applied, ...]:
    """Return the calls of a combination that survey all tensors, innermost first."""
    found: list[Applied] = []
    for node, _ in combination.terms:
        if isinstance(node, Applied):
            found += [each for tensor in node.tensors for each in surveying(tensor)]
            found += [node] if node.method.survey is not None else []
    return tuple(dict.fromkeys(found))


@cache
def unit(combination: Combination, shape: tuple[int, ...]) -> int:
    """Return how many elements must stay together for every method of a combination."""
    result = 1
    for node, _ in combination.terms:
        if isinstance(node, Adapted):
            result = max(result, block_rows(shape) * math.prod(shape[1:]), unit(node.weight, shape))
        elif isinstance(node, Model) and node.space == 0.0:
            result = max(result, block_rows(shape) * math.prod(shape[1:]))
        elif isinstance(node, Applied):
            if node.method.grain == "tensor" or (node.method.grain == "row" and len(shape) < 2):
                result = max(result, math.prod(shape))
            elif node.method.grain == "row":
                result = max(result, math.prod(shape[1:]))
            result = max([result, *(unit(tensor, shape) for tensor in node.tensors)])
    return max(result, 1)


def _ordered(combination: Combination) -> list[tuple[Node, float]]:
    return sorted(combination.terms, key=lambda term: term[1] != 1.0)  # a factor of 1 saves a product


def _adds(*parts: Tensor) -> bool:
    return all(part.itemsize > 1 for part in parts)  # torch adds no 8-bit floats


@cache
def must_measure(combination: Combination) -> bool:
    """Return whether a method of a combination sees the whole tensor first."""
    return any(
        (isinstance(node, Applied) and (node.method.measure is not None or any(map(must_measure, node.tensors))))
        or (isinstance(node, Adapted) and (node.measured or must_measure(node.weight)))
        for node, _ in combination.terms
    )


def cuts(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield the stretches of `step` elements that make up [start, stop)."""
    for begin in range(start, stop, step):
        yield begin, min(begin + step, stop)
