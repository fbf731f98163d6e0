"""The streaming engine: slabs are read, hashed and computed by a few threads and written in order, whatever they do."""

import hashlib
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from enogu.core.networks.direct import ALIGNMENT, DirectFile, MappedFile, room
from enogu.core.networks.folder import files_of
from enogu.core.networks.identity import sha256_of
from enogu.core.networks.stream import StreamWriter, Written, as_bytes, open_writer
from enogu.core.records.known_hashes import KnownHashes, mark_of
from enogu.core.records.progress import Progress, silent
from enogu.core.records.sha256 import lanes
from enogu.merge.algebra import Applied
from enogu.merge.computation import PIECE, PRECISION, Computation, blame, copied, one_thread_each
from enogu.merge.evaluate import Cut, Evaluation, Passes, must_measure, unit
from enogu.merge.fingerprint import Fingerprints
from enogu.merge.guess import Guess
from enogu.merge.inputs import open_inputs
from enogu.merge.plan import KeyPlan, Plan
from enogu.merge.slabs import Loaded, Loader, Part, Ring, Slab
from enogu.merge.whole import Whole

MEMORY = 176 << 20  # bytes of inputs and results that wait, are computed or are hashed
MEASURING = 192 << 20  # the same where tensors are measured first: what fits in is read once
GUESSING = 96 << 20  # the same where large tensors are not, but their results wait beside this memory
MAX_THREADS = 8  # more only wait for the disk
READERS = 2  # slabs read at once: one read leaves a disk idle between its blocks
SLABS = 12  # that fill the memory: the fewer, the longer the reads; the more, the larger the tensors that it holds

Computed = list[tuple[Part, memoryview]]  # a slab's parts and their bytes; the last part of a whole stands for all
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
    memory: int = 0  # 0: as much as the plan needs
    mapped: bool = False  # whether files are mapped into memory instead of being read
    known: KnownHashes = field(default_factory=KnownHashes)  # parents that need not be hashed again
    progress: Progress = silent

    def run(self, plan: Plan, files: Mapping[str, Path], out: Path, *, describe: Describe = nothing) -> Written:
        """Write the merge of a plan; `describe` makes the metadata from the parents' hashes, which are known last."""
        dtype = PRECISION[plan.config.precision]
        with ExitStack() as stack:
            used = {name: files[name] for name in plan.sources}
            readers = stack.enter_context(open_inputs(used, dtype=dtype))
            opened = MappedFile if self.mapped else DirectFile
            direct = {file: stack.enter_context(opened(file)) for path in used.values() for file in files_of(path)}
            stack.enter_context(one_thread_each())
            specs = {key: item.spec for key, item in plan.kept.items()}
            unknown = {name: placeholder(name) for name in plan.sources}
            writer = stack.enter_context(open_writer(out, specs, describe(unknown)))
            loader = Loader(readers, direct)
            threads = max(1, min(self.threads, MAX_THREADS))
            crew = stack.enter_context(_crew(threads))
            hashes = Hashes(plan, loader, used, crew=crew, known=self.known)
            computation = Computation(plan, self.piece).surveyed(readers)
            foreseen = computation.foreseen(readers)
            memory = self.memory or (GUESSING if foreseen else memory_for(plan))
            self._write(_Run(computation, loader, crew, memory, foreseen), hashes, writer)
            writer.metadata = describe(hashes.finish())
        assert writer.written is not None
        return writer.written

    def _write(self, run: "_Run", hashes: "Hashes", writer: StreamWriter) -> None:
        flight: deque[_Flight] = deque()
        ring, jobs = Ring(run.memory), run.jobs()
        total, done = run.computation.plan.out_bytes, 0
        try:
            for job in run.begun(jobs):
                while (memory := ring.lend(job.nbytes)) is None:
                    done += self._land(flight.popleft(), writer, run)
                    ring.take_back()
                    self.progress(done >> 20, total >> 20, "MiB")
                job.load(run.loader, memory, pool=run.crew.read)
                before = [each.computed for each in flight]
                computed = run.crew.compute.submit(run.compute, job, memory[job.read :], before)
                flight.append(_Flight(job, computed, hashes.feed(job.loaded)))
            while flight:
                done += self._land(flight.popleft(), writer, run)
                self.progress(done >> 20, total >> 20, "MiB")
        finally:
            for job in jobs:
                job.loaded.cancel()  # or whoever waits for it would do so for ever

    def _land(self, flight: "_Flight", writer: StreamWriter, run: "_Run") -> int:
        written = 0
        for part, data in flight.computed.result():
            writer.write(part.item.key, data, offset=part.start * part.item.spec.dtype.itemsize)
            run.wholes.pop(part.item.key, None)
            written += len(data)
        for hashed in flight.hashed:
            hashed.result()
        flight.job.forget()
        return written


def measures(plan: Plan) -> bool:
    """Return whether a tensor of a plan must be seen whole before it is merged."""
    return any(item.action == "merged" and must_measure(item.result) for item in plan.kept.values())


def memory_for(plan: Plan) -> int:
    """Return how many bytes of inputs and results a merge holds."""
    return MEASURING if measures(plan) else MEMORY


@dataclass(frozen=True)
class _Flight:
    """A slab under way: what is computed of it, and who else looks at its bytes."""

    job: "_Job"
    computed: Future[Computed]
    hashed: list[Future[None]]


@dataclass(frozen=True)
class Crew:
    """The threads of a merge, by what they do."""

    threads: int
    read: ThreadPoolExecutor
    measure: ThreadPoolExecutor
    compute: ThreadPoolExecutor
    hashing: tuple[ThreadPoolExecutor, ...]  # one thread each, so that a file's bytes come in order


@contextmanager
def _crew(threads: int) -> Iterator[Crew]:
    measure = max(threads // 2, 1)  # more would wait for memory
    pools = [ThreadPoolExecutor(size) for size in (READERS, measure, threads, *[1] * threads)]
    try:
        yield Crew(threads, read=pools[0], measure=pools[1], compute=pools[2], hashing=tuple(pools[3:]))
    finally:
        for pool in reversed(pools):
            pool.shutdown(cancel_futures=True)


class Hashes:
    """The SHA-256 of every parent: known, or taken beside the merge where its file is read in order, or on its own."""

    def __init__(
        self, plan: Plan, loader: Loader, files: Mapping[str, Path], *, crew: Crew, known: KnownHashes
    ) -> None:
        """Begin with the files that are not read in order."""
        self._known, self._files = known, files
        self._marks = {name: mark_of(path) for name, path in files.items()}
        self._found = {name: digest for name, path in files.items() if (digest := known.get(path))}
        left = {path for name, path in files.items() if name not in self._found}
        beside = sorted(left & loader.in_order(plan.kept.values()))
        groups = min(crew.threads, math.ceil(len(beside) / lanes()))
        self._fed = [
            (crew.hashing[number], Fingerprints([loader.files[path] for path in beside[number::groups]]))
            for number in range(groups)
        ]
        others = sorted(left.difference(beside))
        self._others = {path: crew.hashing[i % crew.threads].submit(sha256_of, path) for i, path in enumerate(others)}

    def feed(self, loading: Future[Loaded]) -> list[Future[None]]:
        """Hash a slab once it is loaded."""
        return [pool.submit(_feed, loading, fingerprints) for pool, fingerprints in self._fed]

    def finish(self) -> dict[str, str]:
        """Return the hashes by model."""
        fed = [pool.submit(fingerprints.finish) for pool, fingerprints in self._fed]
        taken = {path: other.result() for path, other in self._others.items()}
        for each in fed:
            taken.update(each.result())
        for name, path in self._files.items():
            if name not in self._found:
                self._found[name] = taken[path]
                self._known.note(path, self._marks[name], taken[path])
        return dict(self._found)


@dataclass(eq=False)
class _Job:
    """A slab to be merged: how many bytes it takes to read and to hold the result, and what was read, once it was."""

    slab: Slab
    read: int
    room: int
    loaded: Future[Loaded] = field(default_factory=Future)

    @property
    def nbytes(self) -> int:
        """Return how much memory it takes."""
        return self.read + self.room

    def load(self, loader: Loader, memory: memoryview, *, pool: Executor) -> None:
        """Have the slab read, and those told who wait for it."""
        pool.submit(loader.load, self.slab, memory[: self.read]).add_done_callback(self._arrive)

    def forget(self) -> None:
        """Let go of what was read, and of all that tells where it lay."""
        self.loaded = Future()

    def _arrive(self, reading: Future[Loaded]) -> None:
        if reading.cancelled():
            self.loaded.cancel()
        elif self.loaded.set_running_or_notify_cancel():
            if problem := reading.exception():
                self.loaded.set_exception(problem)
            else:
                self.loaded.set_result(reading.result())


@dataclass(frozen=True)
class _Run:
    """The work of a plan, slab by slab in the order of the file."""

    computation: Computation
    loader: Loader
    crew: Crew
    memory: int  # bytes of all slabs under way
    foreseen: Mapping[str, Applied]  # calls that go ahead before all of their tensor was seen
    _evaluations: dict[str, Future[Evaluation]] = field(default_factory=dict)
    wholes: dict[str, Whole] = field(default_factory=dict)

    def jobs(self) -> list[_Job]:
        """Return the slabs of all tensors."""
        items = [item for item in self.computation.plan.kept.values() if math.prod(item.spec.shape)]
        steps = {item.key: self.computation.step(item) for item in items}
        slabs = self.loader.slabs(items, steps, nbytes=self.memory // SLABS)
        return [_Job(slab, self.loader.nbytes(slab), self._room(slab)) for slab in slabs]

    def begun(self, jobs: Sequence[_Job]) -> Iterator[_Job]:
        """Yield every job when its tensors are being measured."""
        holders: dict[str, list[_Job]] = {}
        for job in jobs:
            for key in dict.fromkeys(part.item.key for part in job.slab.parts if _is_measured(part)):
                holders.setdefault(key, []).append(job)
        for job in jobs:
            for part in job.slab.parts:
                if part.start == 0 and _is_measured(part):
                    self._begin(part.item, holders[part.item.key])
            yield job

    def _begin(self, item: KeyPlan, jobs: Sequence[_Job]) -> None:
        if item.key in self.foreseen:
            slabs = [job.slab.only(item) for job in jobs]
            again = partial(self.loader.passes, item, slabs, self.computation.step(item), pool=self.crew.read)
            guess = self.crew.measure.submit(self._guessed, item, jobs)
            memory = room(math.prod(item.spec.shape) * item.spec.dtype.itemsize)
            self.wholes[item.key] = Whole(self.computation, item, guess, again, self.loader.readers, memory)
        else:
            self._evaluations[item.key] = self.crew.measure.submit(self._measured, item, jobs)

    def compute(self, job: _Job, memory: memoryview, before: Sequence[Future[Computed]]) -> Computed:
        """Return the bytes of a slab as they go into the file; `before` are the slabs before it, which began sooner."""
        loaded, done = job.loaded.result(), Computed()
        for part in loaded.slab.parts:
            here, memory = memory[: self._room_of(part)], memory[self._room_of(part) :]
            pieces = loaded.cuts(part, self.computation.step(part.item))
            if whole := self.wholes.get(part.item.key):
                whole.fill(part, pieces)
                if part.stop == whole.part.stop:
                    wait(before)
                    done.append((whole.part, whole.settled()))
            elif part.item.action == "copied":
                if odd := self.computation.odd(part.item, pieces):
                    raise blame(part.item, odd[0])
                done.append((part, as_bytes(copied(part.item, Cut(part.start, part.stop, loaded.readers)))))
            else:
                self._fill(part, pieces, memory=here[: _bytes_of(part)])
                done.append((part, here[: _bytes_of(part)]))
        return done

    def _fill(self, part: Part, pieces: Iterator[Cut], *, memory: memoryview) -> None:
        measured = self._evaluations.get(part.item.key)
        evaluation = measured.result() if measured else self.computation.evaluation(part.item)
        if odd := self.computation.fill(part, pieces, evaluation, memory=memory):
            raise blame(part.item, odd[0])

    def _measured(self, item: KeyPlan, jobs: Sequence[_Job]) -> Evaluation:
        return self.computation.measured(item, self._passes(item, jobs, self.memory))

    def _guessed(self, item: KeyPlan, jobs: Sequence[_Job]) -> Guess | Evaluation:
        evaluation, some = self.computation.evaluation(item), self._passes(item, jobs, self.memory // 2)
        return Guess.of(evaluation, self.foreseen[item.key], some) or self._measured(item, jobs)

    def _passes(self, item: KeyPlan, jobs: Sequence[_Job], memory: int) -> Passes:
        """Return ways through a tensor: by those of its jobs that memory holds, and what they leave from its files."""
        step, shape, held = self.computation.step(item), item.spec.shape, _held(jobs, memory)
        rest = [job.slab.only(item) for job in jobs[held:]]

        def pieces() -> Iterator[Cut]:
            yield from at_hand()
            yield from self.loader.passes(item, rest, step, pool=self.crew.read)

        def spread() -> Iterator[Cut]:
            yield from at_hand()
            if rest:
                yield Cut(rest[0].parts[0].start, math.prod(shape), self.loader.readers)

        def at_hand() -> Iterator[Cut]:
            for job in jobs[:held]:
                yield from job.loaded.result().cuts_of(item, step)

        return Passes(pieces, spread, math.prod(shape), unit(item.result, shape))

    def _room(self, slab: Slab) -> int:
        """Return the bytes of the result of a slab, rounded for the read that follows."""
        return -(-sum(map(self._room_of, slab.parts)) // ALIGNMENT) * ALIGNMENT

    def _room_of(self, part: Part) -> int:
        """Return the bytes of a part, rounded so that the next begins at a whole element; 0 if it goes elsewhere."""
        return 0 if part.item.key in self.foreseen else -(-_bytes_of(part) // 8) * 8


def _held(jobs: Sequence[_Job], memory: int) -> int:
    """Return how many jobs can be in memory together, from the first on, whatever gap a ring leaves at its end."""
    total, most = 0, 0
    for number, job in enumerate(jobs):
        total, most = total + job.nbytes, max(most, job.nbytes)
        if total + most > memory:
            return number
    return len(jobs)


def _is_measured(part: Part) -> bool:
    return part.item.action == "merged" and must_measure(part.item.result)


def _bytes_of(part: Part) -> int:
    return (part.stop - part.start) * part.item.spec.dtype.itemsize


def _feed(loading: Future[Loaded], fingerprints: Fingerprints) -> None:
    fingerprints.feed(loading.result().windows)
