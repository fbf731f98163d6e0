"""From the bytes of the inputs to the bytes of the result, tensor by tensor and piece by piece."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor

from enogu.core.networks.finite import is_finite
from enogu.core.networks.fp8 import DTYPES, narrow
from enogu.core.records.errors import Failed
from enogu.merge.algebra import Applied
from enogu.merge.evaluate import Asked, Cut, Evaluation, Passes, Scratch, asked, cuts, surveying, unit
from enogu.merge.guess import foreseeing
from enogu.merge.inputs import Input
from enogu.merge.linear import BITS, add, is_native
from enogu.merge.plan import KeyPlan, Plan
from enogu.merge.slabs import Part
from enogu.merge.soundness import damage, must_be_finite

PIECE = 1 << 18  # elements: what is at work on them stays in a core's own cache
LONGER = 4  # times as many of a sum, whose one loop keeps nothing
PRECISION: Mapping[str, torch.dtype] = {"fp32": torch.float32, "fp64": torch.float64}


@dataclass(frozen=True)
class Computation:
    """How the tensors of a plan are computed; the size of a piece changes no byte."""

    plan: Plan
    piece: int = PIECE
    surveys: Mapping[Asked, Any] = field(default_factory=dict)
    scratch: Scratch = field(default_factory=Scratch)

    def surveyed(self, readers: Mapping[str, Input], *, keys: Collection[str] | None = None) -> Self:
        """Return this with what methods ask of all tensors (or of `keys`) before the first is merged, if anything."""
        looks: dict[Asked, list[Tensor]] = {}
        for item in self.plan.kept.values() if keys is None else map(self.plan.kept.__getitem__, keys):
            for node in surveying(item.result) if item.action == "merged" else ():
                cut = Cut(0, math.prod(item.spec.shape), readers)
                looks.setdefault(asked(node), []).append(self.evaluation(item).look(node, cut))
        settled = {key: key[0].survey.settle(torch.cat(found)) for key, found in looks.items() if key[0].survey}
        return replace(self, surveys=settled)

    def passes(self, item: KeyPlan, pieces: Callable[[], Iterator[Cut]]) -> Passes:
        """Return ways through a tensor whose pieces are easily had."""
        return Passes(pieces, pieces, math.prod(item.spec.shape), unit(item.result, item.spec.shape))

    def step(self, item: KeyPlan) -> int:
        """Return how many elements are computed at once: whole rows or tensors where a method needs them."""
        together = unit(item.result, item.spec.shape)
        piece = self.piece * LONGER if is_native() and item.result.is_sum else self.piece
        return max(piece // together, 1) * together

    def measured(self, item: KeyPlan, passes: Passes) -> Evaluation:
        """Let the methods of a tensor see all of it."""
        evaluation = self.evaluation(item)
        evaluation.measure(item.result, passes)
        return evaluation

    def foreseen(self, readers: Mapping[str, Input]) -> dict[str, Applied]:
        """Return the calls that can go ahead before all of their tensor was seen, by key."""
        if self.plan.config.precision != "fp32":
            return {}
        calls = {item.key: foreseeing(item, readers) for item in self.plan.kept.values()}
        return {key: call for key, call in calls.items() if call}

    def evaluation(self, item: KeyPlan) -> Evaluation:
        """Return what computes a tensor of which no method must see all first."""
        config = self.plan.config
        repeated = frozenset(name for name, uses in item.result.uses.items() if uses > 1)
        dtype = PRECISION[config.precision]
        return Evaluation(
            item.key,
            item.spec.shape,
            dtype,
            config.seed,
            repeated=repeated,
            shared=item.result.shared,
            surveys=self.surveys,
            scratch=self.scratch,
        )

    def fill(self, part: Part, pieces: Iterator[Cut], evaluation: Evaluation, *, memory: memoryview) -> list[Cut]:
        """Compute a part into memory; return where it is not finite, unless that is welcome."""
        item, start, odd = part.item, part.start, []
        out = elements(memory, item)
        for cut in pieces:
            finite = _fill(out[cut.start - start : cut.stop - start], item, cut, evaluation=evaluation)
            if not finite and self.plan.config.nonfinite == "refuse":
                odd.append(cut)
        return odd

    def odd(self, item: KeyPlan, pieces: Iterator[Cut]) -> list[Cut]:
        """Return where a tensor that is taken as it is is not finite, unless that is welcome."""
        if self.plan.config.nonfinite == "keep" or not must_be_finite(item):
            return []
        return [cut for cut in pieces if not is_finite(copied(item, cut))]

    def tensor(self, key: str, readers: Mapping[str, Input]) -> Iterator[Tensor]:
        """Yield one tensor of the result, piece by piece, as it would be written."""
        item = self.plan.kept[key]
        ends = list(cuts(0, math.prod(item.spec.shape), self.step(item)))
        with one_thread_each():
            evaluation = self.measured(item, self.passes(item, lambda: (Cut(*end, readers) for end in ends)))
            for end in ends:
                cut = Cut(*end, readers)
                value = copied(item, cut) if item.action == "copied" else evaluation.value(item.result, cut)
                yield rounded(value, item.spec.dtype).to(item.spec.dtype)


def _fill(out: Tensor, item: KeyPlan, cut: Cut, *, evaluation: Evaluation) -> bool:
    """Compute elements of the result; return whether all are finite."""
    result = evaluation.settled(item.result)
    if out.dtype in BITS and (addends := evaluation.addends(result, cut)):
        return add(*addends, out)
    out.copy_(rounded(evaluation.value(result, cut), item.spec.dtype))
    return is_finite(out)


def rounded(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Return values for a dtype of 8 bits, the largest number for what is too large; others are rounded when copied."""
    return narrow(values, dtype) if dtype in DTYPES.values() and values.dtype != dtype else values


def copied(item: KeyPlan, cut: Cut) -> Tensor:
    """Return elements that go into the result as they are."""
    (name,) = item.result.models()
    return cut.read(name, item.key)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Keep torch from splitting what the engine's own threads split: sums must not depend on the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def elements(memory: memoryview, item: KeyPlan) -> Tensor:
    """Return the elements that memory holds of a tensor of the result."""
    return torch.frombuffer(memory, dtype=item.spec.dtype)


def blame(item: KeyPlan, cut: Cut) -> Failed:
    """Return why elements of the result are not finite."""
    for name in sorted(set(item.result.models())):
        if not is_finite(cut.read(name, item.key)):
            return Failed(damage(name, [item.key]))
    kind = str(item.spec.dtype).removeprefix("torch.")
    return Failed(f"{item.key}: the result does not fit into {kind}; write it wider, or change the formula")
