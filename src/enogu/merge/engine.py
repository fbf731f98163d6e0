"""The streaming engine: slabs are read, hashed and computed by a few threads and written in order, whatever they do."""

import hashlib
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from enogu.core.networks.direct import DirectFile
from enogu.core.networks.folder import files_of
from enogu.core.networks.identity import sha256_of
from enogu.core.networks.stream import StreamWriter, Written, as_bytes, open_writer
from enogu.core.records.known_hashes import KnownHashes, mark_of
from enogu.core.records.progress import Progress, silent
from enogu.merge.computation import PIECE, PRECISION, Computation, copied, measured_before, one_thread_each
from enogu.merge.evaluate import Cut, Evaluation
from enogu.merge.fingerprint import Fingerprint
from enogu.merge.inputs import open_inputs
from enogu.merge.plan import KeyPlan, Plan
from enogu.merge.slabs import Loaded, Loader, Memory, Part, Slab

MEMORY = 160 << 20  # bytes of inputs that wait, are computed or are hashed
MAX_THREADS = 8  # more only wait for the disk
READERS = 2  # slabs read at once: one read leaves a disk idle between its blocks
AHEAD = 2  # tensors that are measured before they are computed

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
    memory: int = MEMORY
    known: KnownHashes = field(default_factory=KnownHashes)  # parents that need not be hashed again
    progress: Progress = silent

    def run(self, plan: Plan, files: Mapping[str, Path], out: Path, *, describe: Describe = nothing) -> Written:
        """Write the merge of a plan; `describe` makes the metadata from the parents' hashes, which are known last."""
        dtype = PRECISION[plan.config.precision]
        with ExitStack() as stack:
            used = {name: files[name] for name in plan.sources}
            readers = stack.enter_context(open_inputs(used, dtype=dtype))
            direct = {file: stack.enter_context(DirectFile(file)) for path in used.values() for file in files_of(path)}
            stack.enter_context(one_thread_each())
            specs = {key: item.spec for key, item in plan.kept.items()}
            unknown = {name: placeholder(name) for name in plan.sources}
            writer = stack.enter_context(open_writer(out, specs, describe(unknown)))
            loader = Loader(readers, direct)
            threads = max(1, min(self.threads, MAX_THREADS))
            crew = stack.enter_context(_crew(threads))
            hashes = Hashes(plan, loader, used, crew=crew, known=self.known)
            computation = Computation(plan, self.piece).surveyed(readers)
            self._write(_Run(computation, loader, crew, self.memory // _slots(threads)), hashes, writer)
            writer.metadata = describe(hashes.finish())
        assert writer.written is not None
        return writer.written

    def _write(self, run: "_Run", hashes: "Hashes", writer: StreamWriter) -> None:
        slots = _slots(run.crew.threads)
        flight: deque[_Flight] = deque()
        free = [(Memory(run.nbytes), Memory(run.nbytes)) for _ in range(slots)]
        total, done = run.computation.plan.out_bytes, 0
        for slab in run.slabs():
            if not free:
                done += self._land(flight.popleft(), writer, free)
                self.progress(done >> 20, total >> 20, "MiB")
            memory, out = free.pop()
            loaded = run.crew.read.submit(run.loader.load, slab, memory)
            computed = run.crew.compute.submit(run.compute, loaded, out)
            flight.append(_Flight(computed, hashes.feed(loaded), (memory, out)))
        while flight:
            done += self._land(flight.popleft(), writer, free)
            self.progress(done >> 20, total >> 20, "MiB")

    def _land(self, flight: "_Flight", writer: StreamWriter, free: list[tuple[Memory, Memory]]) -> int:
        written = 0
        for part, data in flight.computed.result():
            writer.write(part.item.key, data, offset=part.start * part.item.spec.dtype.itemsize)
            written += len(data)
        for hashed in flight.hashed:
            hashed.result()
        free.append(flight.memory)
        return written


@dataclass(frozen=True)
class _Flight:
    """A slab under way: what is computed of it, who else looks at its bytes, where they lie."""

    computed: Future[list[tuple[Part, memoryview]]]
    hashed: list[Future[None]]
    memory: tuple[Memory, Memory]


@dataclass(frozen=True)
class Crew:
    """The threads of a merge, by what they do."""

    threads: int
    read: ThreadPoolExecutor
    measure: ThreadPoolExecutor
    compute: ThreadPoolExecutor
    hashing: tuple[ThreadPoolExecutor, ...]  # one thread each, so that a file's bytes come in order


def _slots(threads: int) -> int:
    return threads + READERS


@contextmanager
def _crew(threads: int) -> Iterator[Crew]:
    pools = [ThreadPoolExecutor(size) for size in (READERS, threads, threads, *[1] * threads)]
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
        left = {name: path for name, path in files.items() if name not in self._found}
        fed = loader.in_order(plan.kept.values())
        pools = {name: crew.hashing[i % crew.threads] for i, name in enumerate(left)}
        self._fed = {
            name: (path, Fingerprint(loader.files[path]), pools[name]) for name, path in left.items() if path in fed
        }
        self._others = {name: pools[name].submit(sha256_of, left[name]) for name in left.keys() - self._fed.keys()}

    def feed(self, loading: Future[Loaded]) -> list[Future[None]]:
        """Hash a slab once it is loaded."""
        return [pool.submit(_feed, loading, path, fingerprint) for path, fingerprint, pool in self._fed.values()]

    def finish(self) -> dict[str, str]:
        """Return the hashes by model."""
        fed = {name: pool.submit(fingerprint.finish) for name, (_, fingerprint, pool) in self._fed.items()}
        taken = {name: each.result() for name, each in {**fed, **self._others}.items()}
        for name, digest in taken.items():
            self._known.note(self._files[name], self._marks[name], digest)
        return {**self._found, **taken}


@dataclass(frozen=True)
class _Run:
    """The work of a plan, slab by slab in the order of the file."""

    computation: Computation
    loader: Loader
    crew: Crew
    nbytes: int  # that a slab takes
    _evaluations: dict[str, Future[Evaluation]] = field(default_factory=dict)
    _spare: list[tuple[Memory, Memory]] = field(default_factory=list)

    def slabs(self) -> Iterator[Slab]:
        """Yield every slab; tensors of several slabs are measured a few ahead of being computed."""
        items = [item for item in self.computation.plan.kept.values() if math.prod(item.spec.shape)]
        slabs = list(self._slabs(items, self.nbytes))
        firsts = [[part.item for part in slab.parts if part.start == 0 and measured_before(part)] for slab in slabs]
        large, begun = [item for items in firsts for item in items], 0
        for slab, first in zip(slabs, firsts, strict=True):
            begun += len(first)
            for item in large[len(self._evaluations) : begun + AHEAD]:
                self._evaluations[item.key] = self.crew.measure.submit(self._measured, item)
            yield slab

    def compute(self, loading: Future[Loaded], memory: Memory) -> list[tuple[Part, memoryview]]:
        """Return the bytes of a slab as they go into the file."""
        loaded = loading.result()
        parts = loaded.slab.parts
        rooms = memory.take([_room(part) for part in parts])
        return [(part, self._part(loaded, part, here)) for part, here in zip(parts, rooms, strict=True)]

    def _part(self, loaded: Loaded, part: Part, memory: memoryview) -> memoryview:
        item = part.item
        if item.action == "copied":
            return as_bytes(copied(item, Cut(part.start, part.stop, loaded.readers)))
        pieces = partial(loaded.cuts, part, self.computation.step(item))
        before = measured_before(part)
        evaluation = self._evaluations[item.key].result() if before else self.computation.measured(item, pieces)
        return self.computation.fill(part, pieces(), evaluation, memory=memory)

    def _measured(self, item: KeyPlan) -> Evaluation:
        memory = self._spare.pop() if self._spare else (Memory(self.nbytes), Memory(self.nbytes))
        slabs, step = list(self._slabs([item], self.nbytes // 2)), self.computation.step(item)
        passes = partial(self.loader.passes, slabs, step, memory, pool=self.crew.read)
        evaluation = self.computation.measured(item, passes)
        self._spare.append(memory)
        return evaluation

    def _slabs(self, items: list[KeyPlan], nbytes: int) -> Iterator[Slab]:
        return self.loader.slabs(items, {item.key: self.computation.step(item) for item in items}, nbytes=nbytes)


def _room(part: Part) -> int:
    """Return the bytes of a part in the file, rounded so that the next one begins at a whole element."""
    return -(-(part.stop - part.start) * part.item.spec.dtype.itemsize // 8) * 8


def _feed(loading: Future[Loaded], path: Path, fingerprint: Fingerprint) -> None:
    fingerprint.feed(loading.result().windows.get(path, ()))
