"""A tensor that is merged before all of it was seen: by a guess at its cuts, and again wherever that left it open."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from torch import Tensor

from enogu.merge.algebra import Applied, Combination, Model
from enogu.merge.evaluate import Cut, Evaluation, Passes
from enogu.merge.inputs import Input
from enogu.merge.loops import Array, differences
from enogu.merge.method import Foresight
from enogu.merge.plan import KeyPlan
from enogu.merge.statistics import Bracket

LEAST = 1 << 16  # elements of a tensor; smaller ones are quickly looked at twice
OPEN = 0.2  # the share that may lie around the cuts; where more does, as many are equal, a second look is no dearer
TOGETHER = 1 << 18  # open elements that are looked at together


def foreseeing(item: KeyPlan, readers: Mapping[str, Input]) -> Applied | None:
    """Return the call that can go ahead before its cuts are known: a large one of halves, added to its base."""
    if item.action != "merged" or item.spec.dtype != torch.float16 or math.prod(item.spec.shape) < LEAST:
        return None
    for node, _ in item.result.terms:
        if isinstance(node, Applied) and node.method.foresight and node.differing:
            stored = {readers[name].header.tensors[item.key].dtype for name in node.differing}
            both = Combination.of({Model(node.differing[0]): 1.0, node: 1.0})
            return node if item.result == both and stored == {"F16"} else None
    return None


@dataclass(frozen=True)
class _Look:
    """Elements [start, start + count) as they were guessed.

    `places` are open, of which the base and the others hold `held`; of all, so many are `beyond` their bracket.
    """

    start: int
    count: int
    places: Array
    held: Array
    beyond: Array


@dataclass(frozen=True)
class Guess:
    """Brackets of the cuts of a tensor whose pieces may come in any order."""

    evaluation: Evaluation
    node: Applied
    foresight: Foresight
    keep: float
    brackets: list[Bracket]
    looks: list[_Look] = field(default_factory=list)

    @classmethod
    def of(cls, evaluation: Evaluation, node: Applied, passes: Passes) -> Self | None:
        """Guess from a sample, if that promises to save a pass."""
        foresight = node.method.foresight
        assert foresight is not None
        keep = foresight.share(dict(node.options))
        if not 0.0 < keep < 1.0:
            return None
        stretches = [evaluation.halves(node, cut) for cut in passes(sample=True)]
        samples = np.abs(_differences([np.concatenate(each) for each in zip(*stretches, strict=True)]))
        brackets = [Bracket.around(sample, keep) for sample in samples]
        share = sum(bracket.holds(sample) for bracket, sample in zip(brackets, samples, strict=True))
        return cls(evaluation, node, foresight, keep, brackets) if share <= OPEN else None

    def fill(self, cut: Cut, out: Tensor) -> bool:
        """Compute a piece as if nothing open reached its cut; return whether all of it is finite."""
        halves = self.evaluation.halves(self.node, cut)
        low, high = (np.array([getattr(each, end) for each in self.brackets]) for end in ("low", "high"))
        places, held, beyond, finite = self._look(halves, (low, high), _bits(out))
        self.looks.append(_Look(cut.start, cut.stop - cut.start, places.copy(), held.copy(), beyond))
        return finite

    def settle(self, out: Tensor) -> list[Cut] | None:
        """Find the cuts and mend what was open; return where that is not finite, or nothing if a guess was wrong."""
        groups = list(self._groups())
        for _, held in groups:
            for bracket, values in zip(self.brackets, _differences(list(held)), strict=True):
                bracket.look(values)
        count = sum(look.count for look in self.looks)
        for bracket, beyond in zip(self.brackets, np.sum([look.beyond for look in self.looks], axis=0), strict=True):
            bracket.counted(count, int(beyond))
        answers = [bracket.answer(self.keep) for bracket in self.brackets]
        if None in answers:
            return None
        exact, odd = np.array(answers, np.float32), []
        for places, held in groups:
            sums = np.empty(len(places), np.uint16)
            *_, finite = self._look(list(held), (exact, exact), sums)
            _bits(out)[places] = sums
            if not finite:
                odd.append(Cut(int(places[0]), int(places[-1]) + 1, {}))
        return odd

    def _look(self, halves: list[Array], bounds: tuple[Array, ...], sums: Array) -> tuple[Array, Array, Array, bool]:
        """Return the open places, what is held there, how much lies beyond, and whether all sums are finite."""
        rows = self.evaluation.scratch.rows(2 + len(halves) // 2, len(sums))
        places, held = rows[0].view(torch.int32).numpy(), rows[1:].view(torch.uint16).view(-1, len(sums)).numpy()
        found = self.foresight.look(dict(self.node.options), tuple(halves), bounds, (sums, places, held))
        number, beyond, finite = found
        return places[:number], held[: len(halves), :number], beyond, finite

    def _groups(self) -> Iterator[tuple[Array, Array]]:
        """Yield the open places in order, with what is held there, many at once."""
        group: list[_Look] = []
        for look in [*sorted(self.looks, key=lambda look: look.start), None]:
            if group and (look is None or sum(len(each.places) for each in group) >= TOGETHER):
                places = [each.places.astype(np.int64) + each.start for each in group]
                yield np.concatenate(places), np.concatenate([each.held for each in group], axis=1)
                group = []
            group += [look] if look else []


def _differences(halves: list[Array]) -> Array:
    base, *others = halves
    rows = np.empty((len(others), len(base)), np.float32)
    differences(tuple(others), base, rows)
    return rows


def _bits(halves: Tensor) -> Array:
    return halves.view(torch.uint16).numpy()
