"""The streaming engine: pieces are computed by a few threads and written in order, whatever the threads do."""

import math
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from enogu.core.networks.stream import Reader, StreamWriter, Written, as_bytes, open_writer
from enogu.core.records.errors import Failed
from enogu.core.records.hashes import sha256_file
from enogu.core.records.progress import Progress, silent
from enogu.merge.evaluate import Evaluation, cuts, unit
from enogu.merge.lineage import placeholder
from enogu.merge.plan import KeyPlan, Plan

PIECE = 1 << 18  # elements: 1 MiB in float32, which stays in a core's cache
MAX_THREADS = 8  # more only wait for the disk
PRECISION = {"fp32": torch.float32, "fp64": torch.float64}


@dataclass(frozen=True, kw_only=True)
class Engine:
    """How to run a plan; none of this changes a byte of the result."""

    threads: int = 2
    piece: int = PIECE
    progress: Progress = silent

    def run(self, plan: Plan, files: Mapping[str, Path], out: Path, metadata: Mapping[str, str]) -> Written:
        """Write the merge that a plan describes."""
        with ExitStack() as stack:
            readers = {name: stack.enter_context(Reader(files[name])) for name in plan.sources}
            stack.enter_context(_one_thread_each())
            specs = {key: item.spec for key, item in plan.kept.items()}
            writer = stack.enter_context(open_writer(out, specs, metadata))
            pool = stack.enter_context(ThreadPoolExecutor(max(1, min(self.threads, MAX_THREADS))))
            hasher = stack.enter_context(ThreadPoolExecutor(1))
            try:
                hashes = {name: hasher.submit(sha256_file, files[name]) for name in plan.sources}
                self._write(_Run(plan, readers, pool, self.piece), writer)
                writer.replacements.update({placeholder(name): each.result() for name, each in hashes.items()})
            except BaseException:
                hasher.shutdown(cancel_futures=True)
                pool.shutdown(cancel_futures=True)
                raise
        assert writer.written is not None
        return writer.written

    def _write(self, run: "_Run", writer: StreamWriter) -> None:
        waiting: deque[tuple[KeyPlan, int, Future[Tensor]]] = deque()
        total, done = run.plan.out_bytes, 0
        for item, start, future in run.pieces():
            waiting.append((item, start, future))
            while len(waiting) > 2 * self.threads:
                done += _flush(writer, *waiting.popleft())
                self.progress(done, total, "bytes")
        while waiting:
            done += _flush(writer, *waiting.popleft())
            self.progress(done, total, "bytes")


def _flush(writer: StreamWriter, item: KeyPlan, start: int, future: Future[Tensor]) -> int:
    data = as_bytes(future.result())
    writer.write(item.key, data, offset=start * item.spec.dtype.itemsize)
    return len(data)


@dataclass
class _Run:
    """The pieces of a plan in the order of the file; tensors are measured a few ahead of being computed."""

    plan: Plan
    readers: Mapping[str, Reader]
    pool: ThreadPoolExecutor
    piece: int
    _ahead: deque[tuple[KeyPlan, int, Future[Evaluation]]] = field(default_factory=deque)

    def pieces(self) -> Iterator[tuple[KeyPlan, int, "Future[Tensor]"]]:
        """Submit and yield every piece."""
        for item in self.plan.kept.values():
            together = unit(item.result, item.spec.shape)
            step = max(self.piece // together, 1) * together
            self._ahead.append((item, step, self.pool.submit(self._measure, item, step)))
            if len(self._ahead) > 2:
                yield from self._cut()
        while self._ahead:
            yield from self._cut()

    def _cut(self) -> Iterator[tuple[KeyPlan, int, "Future[Tensor]"]]:
        item, step, measured = self._ahead.popleft()
        evaluation = measured.result()
        for start, stop in cuts(math.prod(item.spec.shape), step):
            yield item, start, self.pool.submit(self._compute, item, evaluation, start, stop)

    def _measure(self, item: KeyPlan, step: int) -> Evaluation:
        config = self.plan.config
        evaluation = Evaluation(item.key, item.spec.shape, self.readers, PRECISION[config.precision], config.seed)
        evaluation.measure(item.result, step)
        return evaluation

    def _compute(self, item: KeyPlan, evaluation: Evaluation, start: int, stop: int) -> Tensor:
        if item.action == "copied":
            (name,) = item.result.models()
            return evaluation.read(name, start, stop)
        value = evaluation.value(item.result, start, stop)
        result = value.to(item.spec.dtype)
        if self.plan.config.nonfinite == "refuse" and not bool(torch.isfinite(result).all()):
            raise Failed(self._blame(item, evaluation, start, stop))
        return result

    def _blame(self, item: KeyPlan, evaluation: Evaluation, start: int, stop: int) -> str:
        for name in sorted(set(item.result.models())):
            if not bool(torch.isfinite(evaluation.read(name, start, stop)).all()):
                return f"{item.key} of {name} holds NaN or infinities; repair it, or keep them with nonfinite = 'keep'"
        kind = str(item.spec.dtype).removeprefix("torch.")
        return f"{item.key}: the result does not fit into {kind}; write it wider, or change the formula"


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Keep torch from splitting what the engine's own threads split: sums must not depend on the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
