"""A method tried on a few numbers, so that options which it cannot take are refused before any work."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from enogu.merge.method import Method
from enogu.merge.stretch import Stretch

MANY = 2  # tensors that stand for a list


@cache
def rehearse(method: Method, options: tuple[tuple[str, float | str], ...]) -> None:
    """Call a method as the engine does, on four numbers per tensor; it refuses what it does not take."""
    counts = [MANY if slot.many else 1 for slot in method.slots]
    tensors = [torch.tensor([[1.0, 2.0], [3.0, 5.0 + i]]) for i in range(sum(counts))]
    tensors = [tensor.reshape(-1) for tensor in tensors] if method.grain in ("element", "linear") else tensors

    def pieces(*, sample: bool = False) -> Iterator[list[Tensor]]:
        yield [tensor.clone() for tensor in tensors]

    given = dict(options)
    lent: Mapping[str, Any] = {
        "measured": method.measure(pieces, **given) if method.measure else None,
        "surveyed": method.survey.settle(method.survey.look(*tensors)) if method.survey else None,
        "elements": Stretch(0, "", 0, (2, 2), tuple(map(str, range(len(tensors))))),
    }
    wanted = {name: lent[name] for name in method.wants}
    method(*method.grouped(tensors), **given, **wanted)
