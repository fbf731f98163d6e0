"""What is read together: runs of small tensors, or a stretch of a large one, from every model at once."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass
from pathlib import Path

from enogu.core.networks.direct import DirectFile, room, room_for
from enogu.core.networks.stream import Reader, Span, Window
from enogu.merge.evaluate import Cut, cuts
from enogu.merge.inputs import Input
from enogu.merge.plan import KeyPlan

NEAR = 1 << 16  # bytes between two tensors that are read along rather than skipped
Range = tuple[int, int]  # of a file's bytes: the first, and the one behind the last


@dataclass(frozen=True)
class Part:
    """Elements [start, stop) of a tensor of the result."""

    item: KeyPlan
    start: int
    stop: int


@dataclass(frozen=True)
class Slab:
    """Parts that follow one another in the result."""

    parts: tuple[Part, ...]

    def only(self, item: KeyPlan) -> "Slab":
        """Return this without what belongs to other tensors."""
        return Slab(tuple(part for part in self.parts if part.item is item))


class Ring:
    """Aligned memory, lent piece by piece and given back in the same order.

    It is used again and again, for fresh pages cost as much as the arithmetic on them.
    """

    def __init__(self, nbytes: int) -> None:
        """Begin with nothing lent; what is not touched costs nothing."""
        self._room, self._head = room(nbytes), 0
        self._lent: deque[int] = deque()  # where each piece begins

    def lend(self, nbytes: int) -> memoryview | None:
        """Return memory, or None as long as too much is lent; what never fits gets its own once nothing is."""
        start = self._place(nbytes)
        if start is None:
            return None
        self._lent.append(start)
        self._head = start + nbytes
        return self._room[start : start + nbytes] if self._head <= len(self._room) else room(nbytes)

    def take_back(self) -> None:
        """Take the piece back that was lent first."""
        self._lent.popleft()

    def _place(self, nbytes: int) -> int | None:
        if not self._lent:
            return 0
        tail, wrapped = self._lent[0], self._head <= self._lent[0]
        if self._head + nbytes <= (tail if wrapped else len(self._room)):
            return self._head
        return 0 if nbytes <= tail and not wrapped else None


@dataclass(frozen=True)
class Loaded:
    """A slab in memory: its windows by file, and the readers over them."""

    slab: Slab
    windows: Mapping[Path, list[Window]]
    readers: Mapping[str, Input]

    def cuts(self, part: Part, step: int) -> Iterator[Cut]:
        """Yield pieces of a part."""
        for start, stop in cuts(part.start, part.stop, step):
            yield Cut(start, stop, self.readers)

    def cuts_of(self, item: KeyPlan, step: int) -> Iterator[Cut]:
        """Yield pieces of every part of a tensor."""
        for part in self.slab.only(item).parts:
            yield from self.cuts(part, step)


@dataclass(frozen=True)
class Loader:
    """Reads slabs of a merge from its files."""

    readers: Mapping[str, Input]
    files: Mapping[Path, DirectFile]

    def slabs(self, items: Iterable[KeyPlan], step: Mapping[str, int], *, nbytes: int) -> Iterator[Slab]:
        """Cut tensors, in their order, into slabs that take about `nbytes` with their result; none splits a `step`."""
        parts: list[Part] = []
        size = 0
        for item in items:
            width = max(self._width(item), 1)
            most = max(nbytes // width // step[item.key], 1) * step[item.key]
            for start, stop in cuts(0, math.prod(item.spec.shape), most):
                if parts and size + (stop - start) * width > nbytes:
                    yield Slab(tuple(parts))
                    parts, size = [], 0
                parts.append(Part(item, start, stop))
                size += (stop - start) * width
        if parts:
            yield Slab(tuple(parts))

    def nbytes(self, slab: Slab) -> int:
        """Return how much memory `load` needs."""
        return sum(room_for(stop - start) for spans in self.spans(slab).values() for start, stop in spans)

    def load(self, slab: Slab, memory: memoryview) -> Loaded:
        """Read everything that a slab needs."""
        windows: dict[Path, list[Window]] = {}
        for file, spans in self.spans(slab).items():
            for start, stop in spans:
                here, memory = memory[: room_for(stop - start)], memory[room_for(stop - start) :]
                windows.setdefault(file, []).append(Window(start, self.files[file].read(start, stop, here)))
        readers = {
            name: reader.over(windows) if isinstance(reader, Reader) else reader
            for name, reader in self.readers.items()
        }
        return Loaded(slab, windows, readers)

    def passes(self, item: KeyPlan, slabs: Sequence[Slab], step: int, *, pool: Executor) -> Iterator[Cut]:
        """Yield the pieces of a tensor that slabs have, the next slab read while one is looked at."""
        most = max(map(self.nbytes, slabs), default=0)
        memory, waiting = (room(most), room(most)), deque[Future[Loaded]]()
        try:
            for number, slab in enumerate(slabs):
                waiting.append(pool.submit(self.load, slab, memory[number % 2]))
                if number:
                    yield from waiting.popleft().result().cuts_of(item, step)
            while waiting:
                yield from waiting.popleft().result().cuts_of(item, step)
        finally:
            wait(waiting)  # whoever looks at a part only must not leave a read under way into this memory

    def spans(self, slab: Slab) -> dict[Path, list[Range]]:
        """Return what a slab needs of each file, in the file's order, near ranges joined."""
        found: dict[Path, set[Range]] = {}
        for part in slab.parts:
            for span in self._spans(part.item):
                begin, end = span.start + part.start * span.width, span.start + part.stop * span.width
                found.setdefault(span.file, set()).add((begin, end))
        return {file: list(_joined(sorted(ranges))) for file, ranges in sorted(found.items())}

    def in_order(self, items: Iterable[KeyPlan]) -> set[Path]:
        """Return the files that have their tensors in the order in which they are read."""
        starts: dict[Path, list[int]] = {}
        for item in items:
            for span in self._spans(item):
                starts.setdefault(span.file, []).append(span.start)
        return {file for file, found in starts.items() if found == sorted(found)}

    def _spans(self, item: KeyPlan) -> list[Span]:
        readers = (self.readers[name] for name in sorted(set(item.result.models())))
        spans = (reader.span(item.key) for reader in readers if isinstance(reader, Reader))
        return [span for span in spans if span]

    def _width(self, item: KeyPlan) -> int:
        return sum(span.width for span in self._spans(item)) + item.spec.dtype.itemsize


def _joined(ranges: list[Range]) -> Iterator[Range]:
    start, stop = ranges[0]
    for following, end in ranges[1:]:
        if following - stop > NEAR:
            yield start, stop
            start = following
        stop = max(stop, end)
    yield start, stop
