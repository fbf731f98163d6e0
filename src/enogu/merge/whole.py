"""A tensor of the result that is held until all of its parts are computed, for the last may still change the first."""

import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from enogu.core.networks.finite import is_finite
from enogu.merge.computation import Computation, blame, elements
from enogu.merge.evaluate import Cut, Evaluation
from enogu.merge.guess import Guess
from enogu.merge.inputs import Input
from enogu.merge.plan import KeyPlan
from enogu.merge.slabs import Part


@dataclass(frozen=True)
class Whole:
    """A tensor that may be computed by a guess; `again` yields its pieces once more, from its files."""

    computation: Computation
    item: KeyPlan
    evaluation: Future[Guess | Evaluation]
    again: Callable[[], Iterator[Cut]]
    files: Mapping[str, Input]
    _memory: memoryview
    _odd: list[Cut] = field(default_factory=list)

    @property
    def part(self) -> Part:
        """Return all of it as one part."""
        return Part(self.item, 0, math.prod(self.item.spec.shape))

    def fill(self, part: Part, pieces: Iterator[Cut]) -> None:
        """Compute a part, perhaps beside others."""
        evaluation, out = self.evaluation.result(), elements(self._memory, self.item)
        if isinstance(evaluation, Guess):
            self._odd.extend(cut for cut in pieces if not evaluation.fill(cut, out[cut.start : cut.stop]))
        else:
            self._odd.extend(self._filled(evaluation, part, pieces))

    def settled(self) -> memoryview:
        """Return the bytes once every part is computed, and what a guess left open is mended."""
        evaluation, out, odd = self.evaluation.result(), elements(self._memory, self.item), self._odd
        if isinstance(evaluation, Guess):
            mended = evaluation.settle(out)
            odd = self._repeated() if mended is None else odd + mended
        for cut in odd if self.computation.plan.config.nonfinite == "refuse" else ():
            if not is_finite(out[cut.start : cut.stop]):
                raise blame(self.item, Cut(cut.start, cut.stop, self.files))
        return self._memory

    def _repeated(self) -> list[Cut]:
        """Compute all of it once more, measured as it should be."""
        evaluation = self.computation.measured(self.item, self.computation.passes(self.item, self.again))
        return self._filled(evaluation, self.part, self.again())

    def _filled(self, evaluation: Evaluation, part: Part, pieces: Iterator[Cut]) -> list[Cut]:
        width = self.item.spec.dtype.itemsize
        memory = self._memory[part.start * width : part.stop * width]
        return self.computation.fill(part, pieces, evaluation, memory=memory)
