"""The value of a combination over a stretch of one tensor, in the precision of the arithmetic."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from enogu.merge.adapters.adapter import Adapter, block_rows
from enogu.merge.algebra import Adapted, Applied, Combination, Model, Node
from enogu.merge.inputs import Input
from enogu.merge.stretch import Stretch


@dataclass
class Evaluation:
    """One tensor of the result; `measured` is filled bottom up, then pieces can be asked for in any order."""

    key: str
    shape: tuple[int, ...]
    readers: Mapping[str, Input]
    dtype: torch.dtype
    seed: int
    measured: dict[Applied, Any] = field(default_factory=dict)

    def read(self, model: str, start: int, stop: int) -> Tensor:
        """Return elements [start, stop) of a model's tensor as the file has them, flat."""
        return self.readers[model].stretch(self.key, start, stop)

    def value(self, combination: Combination, start: int, stop: int) -> Tensor:
        """Return elements [start, stop) of a combination, flat.

        Products and sums are separate roundings, so that no cut into pieces changes a bit.
        """
        total: Tensor | None = None
        for node, coefficient in combination.terms:
            part = self._node(node, start, stop)  # fresh: nobody else holds it
            if coefficient != 1.0:
                part = part.mul_(coefficient)
            total = part if total is None else total.add_(part)
        return torch.zeros(stop - start, dtype=self.dtype) if total is None else total

    def measure(self, combination: Combination, step: int) -> None:
        """Let every method beneath that must see the whole tensor first do so, innermost first."""
        for node, _ in combination.terms:
            if isinstance(node, Adapted):
                self.measure(node.weight, step)
            if not isinstance(node, Applied) or node in self.measured:
                continue
            for tensor in node.tensors:
                self.measure(tensor, step)
            if node.method.measure is not None:

                def pieces(node: Applied = node) -> Iterator[list[Tensor]]:
                    for start, stop in cuts(math.prod(self.shape), step):
                        yield [self._shaped(self.value(t, start, stop), node) for t in node.tensors]

                self.measured[node] = node.method.measure(pieces, **dict(node.options))

    def _node(self, node: Node, start: int, stop: int) -> Tensor:
        if isinstance(node, Model):
            return self.read(node.name, start, stop).to(self.dtype)
        if isinstance(node, Adapted):
            adapter = self.readers[node.adapter]
            assert isinstance(adapter, Adapter)
            return adapter.at(self.key, self.value(node.weight, start, stop).reshape(self.shape)).reshape(-1)
        tensors = [self._shaped(self.value(tensor, start, stop), node) for tensor in node.tensors]
        single = sum(not slot.many for slot in node.method.slots)
        arguments = [*tensors[:single], *([tensors[single:]] if single < len(node.method.slots) else [])]
        lent: dict[str, Any] = {}
        if "measured" in node.method.wants:
            lent["measured"] = self.measured[node]
        if "elements" in node.method.wants:
            lent["elements"] = Stretch(
                self.seed, self.key, start, self.shape, tuple(tensor.spelling for tensor in node.tensors)
            )
        result: Tensor = node.method(*arguments, **dict(node.options), **lent)
        return result.reshape(-1)

    def _shaped(self, flat: Tensor, node: Applied) -> Tensor:
        if node.method.grain == "element":
            return flat
        if node.method.grain == "tensor" or len(self.shape) < 2:
            return flat.reshape(self.shape)
        return flat.reshape(-1, *self.shape[1:])


def unit(combination: Combination, shape: tuple[int, ...]) -> int:
    """Return how many elements must stay together for every method of a combination."""
    result = 1
    for node, _ in combination.terms:
        if isinstance(node, Adapted):
            result = max(result, math.prod(shape))
        elif isinstance(node, Model) and node.space == 0.0:
            result = max(result, block_rows(shape) * math.prod(shape[1:]))
        elif isinstance(node, Applied):
            if node.method.grain == "tensor" or (node.method.grain == "row" and len(shape) < 2):
                result = max(result, math.prod(shape))
            elif node.method.grain == "row":
                result = max(result, math.prod(shape[1:]))
            result = max([result, *(unit(tensor, shape) for tensor in node.tensors)])
    return max(result, 1)


def cuts(count: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield the stretches of `step` elements that make up `count`."""
    for start in range(0, count, step):
        yield start, min(start + step, count)
