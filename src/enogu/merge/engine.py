"""The streaming engine: pieces are computed by a few threads and written in order, whatever the threads do."""

import hashlib
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from enogu.core.networks.stream import StreamWriter, Written, as_bytes, open_writer
from enogu.core.records.errors import Failed
from enogu.core.records.hashes import sha256_file
from enogu.core.records.progress import Progress, silent
from enogu.merge.evaluate import Evaluation, cuts, unit
from enogu.merge.inputs import Input, open_inputs
from enogu.merge.plan import KeyPlan, Plan

PIECE = 1 << 16  # elements: small enough for the allocator to hand out the same memory again and again
MAX_THREADS = 8  # more only wait for the disk
AHEAD = 2  # tensors that are measured before they are computed
PRECISION = {"fp32": torch.float32, "fp64": torch.float64}


Describe = Callable[[Mapping[str, str]], Mapping[str, str]]


def nothing(hashes: Mapping[str, str]) -> Mapping[str, str]:
    """Describe a merge by nothing."""
    return {}


def placeholder(model: str) -> str:
    """Return what stands in the header for a parent's SHA-256 until the parent was read: distinct, of one length."""
    return hashlib.sha256(model.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Engine:
    """How to run a plan; none of this changes a byte of the result."""

    threads: int = 2
    piece: int = PIECE
    progress: Progress = silent

    def run(self, plan: Plan, files: Mapping[str, Path], out: Path, *, describe: Describe = nothing) -> Written:
        """Write the merge of a plan; `describe` makes the metadata from the parents' hashes, which are known last."""
        with ExitStack() as stack:
            sources = {name: files[name] for name in plan.sources}
            readers = stack.enter_context(open_inputs(sources, dtype=PRECISION[plan.config.precision]))
            stack.enter_context(_one_thread_each())
            specs = {key: item.spec for key, item in plan.kept.items()}
            unknown = {name: placeholder(name) for name in plan.sources}
            writer = stack.enter_context(open_writer(out, specs, describe(unknown)))
            pool = stack.enter_context(ThreadPoolExecutor(max(1, min(self.threads, MAX_THREADS))))
            hasher = stack.enter_context(ThreadPoolExecutor(1))
            try:
                hashes = {name: hasher.submit(sha256_file, files[name]) for name in plan.sources}
                self._write(_Run(plan, readers, self.piece), pool, writer)
                writer.metadata = describe({name: each.result() for name, each in hashes.items()})
            except BaseException:
                hasher.shutdown(cancel_futures=True)
                pool.shutdown(cancel_futures=True)
                raise
        assert writer.written is not None
        return writer.written

    def _write(self, run: "_Run", pool: ThreadPoolExecutor, writer: StreamWriter) -> None:
        waiting: deque[tuple[_Piece, Future[Tensor]]] = deque()
        total, done = run.plan.out_bytes, 0
        for piece in run.pieces(pool):
            waiting.append((piece, pool.submit(piece.compute)))
            while len(waiting) > 2 * self.threads:
                done += _flush(writer, *waiting.popleft())
                self.progress(done, total, "bytes")
        while waiting:
            done += _flush(writer, *waiting.popleft())
            self.progress(done, total, "bytes")


@dataclass(frozen=True)
class _Piece:
    """Elements [start, stop) of one tensor of the result."""

    item: KeyPlan
    evaluation: Evaluation
    start: int
    stop: int
    finite: bool  # whether NaN and infinities stop the merge

    def compute(self) -> Tensor:
        """Return the elements as they go into the file."""
        if self.item.action == "copied":
            (name,) = self.item.result.models()
            return self.evaluation.read(name, self.start, self.stop)
        result = self.evaluation.value(self.item.result, self.start, self.stop).to(self.item.spec.dtype)
        if self.finite and not _finite(result):
            raise Failed(self._blame())
        return result

    def _blame(self) -> str:
        for name in sorted(set(self.item.result.models())):
            if not _finite(self.evaluation.read(name, self.start, self.stop)):
                remedy = "repair it, or let it through with nonfinite = 'keep'"
                return f"{self.item.key} of {name} holds NaN or infinities; {remedy}"
        kind = str(self.item.spec.dtype).removeprefix("torch.")
        return f"{self.item.key}: the result does not fit into {kind}; write it wider, or change the formula"


def _finite(values: Tensor) -> bool:
    """Return whether all elements are finite; a finite sum, which is quick to have, says so."""
    wide = values if values.itemsize > 1 else values.float()  # torch does not sum 8-bit floats
    return math.isfinite(float(wide.sum(dtype=torch.float32))) or bool(torch.isfinite(wide).all())


def _flush(writer: StreamWriter, piece: _Piece, computed: Future[Tensor]) -> int:
    data = as_bytes(computed.result())
    writer.write(piece.item.key, data, offset=piece.start * piece.item.spec.dtype.itemsize)
    return len(data)


@dataclass(frozen=True)
class _Run:
    """The pieces of a plan in the order of the file."""

    plan: Plan
    readers: Mapping[str, Input]
    piece: int

    def pieces(self, pool: ThreadPoolExecutor) -> Iterator[_Piece]:
        """Yield every piece, its tensor measured; tensors are measured a few ahead of being computed."""
        ahead: deque[tuple[KeyPlan, Future[Evaluation]]] = deque()
        for item in self.plan.kept.values():
            ahead.append((item, pool.submit(self.measure, item)))
            if len(ahead) > AHEAD:
                yield from self.cut(*_measured(ahead.popleft()))
        while ahead:
            yield from self.cut(*_measured(ahead.popleft()))

    def measure(self, item: KeyPlan) -> Evaluation:
        """Let the methods of a tensor see the whole of it."""
        config = self.plan.config
        evaluation = Evaluation(item.key, item.spec.shape, self.readers, PRECISION[config.precision], config.seed)
        evaluation.measure(item.result, self._step(item))
        return evaluation

    def cut(self, item: KeyPlan, evaluation: Evaluation) -> Iterator[_Piece]:
        """Yield the pieces of one tensor."""
        for start, stop in cuts(math.prod(item.spec.shape), self._step(item)):
            yield _Piece(item, evaluation, start, stop, self.plan.config.nonfinite == "refuse")

    def _step(self, item: KeyPlan) -> int:
        together = unit(item.result, item.spec.shape)
        return max(self.piece // together, 1) * together


def _measured(waiting: tuple[KeyPlan, "Future[Evaluation]"]) -> tuple[KeyPlan, Evaluation]:
    return waiting[0], waiting[1].result()


def compute(plan: Plan, readers: Mapping[str, Input], key: str) -> Iterator[Tensor]:
    """Yield one tensor of the result, piece by piece, as it would be written."""
    run = _Run(plan, readers, PIECE)
    item = plan.kept[key]
    with _one_thread_each():
        yield from (piece.compute() for piece in run.cut(item, run.measure(item)))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Keep torch from splitting what the engine's own threads split: sums must not depend on the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
