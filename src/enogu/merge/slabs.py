"""What is read together: runs of small tensors, or a stretch of a large one, from every model at once."""

import math
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass

from enogu.core.networks.direct import DirectFile, room, room_for
from enogu.core.networks.stream import Reader, Window
from enogu.merge.evaluate import Cut, cuts
from enogu.merge.inputs import Input
from enogu.merge.plan import KeyPlan

NEAR = 1 << 16  # bytes between two tensors that are read along rather than skipped
Span = tuple[int, int]  # the first byte of a file, and the one behind the last


@dataclass(frozen=True)
class Part:
    """Elements [start, stop) of a tensor of the result; `whole` says that there are no others."""

    item: KeyPlan
    start: int
    stop: int

    @property
    def whole(self) -> bool:
        """Return whether this is all of the tensor."""
        return self.stop - self.start == math.prod(self.item.spec.shape)


@dataclass(frozen=True)
class Slab:
    """Parts that follow one another in the result."""

    parts: tuple[Part, ...]

    @property
    def out_bytes(self) -> int:
        """Return how much of the result this is."""
        return sum((part.stop - part.start) * part.item.spec.dtype.itemsize for part in self.parts)


class Memory:
    """Aligned memory that is used again and again: fresh pages cost as much as the arithmetic on them."""

    def __init__(self) -> None:
        """Begin with none."""
        self._room = room(1)

    def take(self, sizes: list[int]) -> list[memoryview]:
        """Return pieces of memory; those of the call before are given up."""
        if sum(sizes) > len(self._room):
            self._room = room(sum(sizes))
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        return [self._room[end - size : end] for size, end in zip(sizes, ends, strict=True)]


@dataclass(frozen=True)
class Loaded:
    """A slab in memory: its windows by model, and the readers over them."""

    slab: Slab
    windows: Mapping[str, list[Window]]
    readers: Mapping[str, Input]

    def cuts(self, part: Part, step: int) -> Iterator[Cut]:
        """Yield pieces of a part."""
        for start, stop in cuts(part.start, part.stop, step):
            yield Cut(start, stop, self.readers)


@dataclass(frozen=True)
class Loader:
    """Reads slabs of a merge from its files."""

    readers: Mapping[str, Input]
    files: Mapping[str, DirectFile]

    def slabs(self, items: Iterable[KeyPlan], step: Mapping[str, int], *, nbytes: int) -> Iterator[Slab]:
        """Cut tensors, in their order, into slabs for which about `nbytes` are read; none splits a `step`."""
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

    def load(self, slab: Slab, memory: Memory) -> Loaded:
        """Read everything that a slab needs."""
        wanted = [(name, span) for name, spans in self.spans(slab).items() for span in spans]
        rooms = memory.take([room_for(stop - start) for _, (start, stop) in wanted])
        windows: dict[str, list[Window]] = {}
        for (name, (start, stop)), here in zip(wanted, rooms, strict=True):
            windows.setdefault(name, []).append(Window(start, self.files[name].read(start, stop, here)))
        readers = {
            name: reader.over(windows[name]) if isinstance(reader, Reader) and name in windows else reader
            for name, reader in self.readers.items()
        }
        return Loaded(slab, windows, readers)

    def passes(
        self, slabs: Iterable[Slab], step: int, memory: tuple[Memory, Memory], *, pool: Executor
    ) -> Iterator[Cut]:
        """Yield the pieces of one tensor's slabs, the next slab read while one is looked at."""
        waiting: list[Future[Loaded]] = []
        for number, slab in enumerate(slabs):
            waiting.append(pool.submit(self.load, slab, memory[number % 2]))
            if number:
                loaded = waiting.pop(0).result()
                yield from loaded.cuts(loaded.slab.parts[0], step)
        for last in waiting:
            yield from last.result().cuts(last.result().slab.parts[0], step)

    def spans(self, slab: Slab) -> dict[str, list[Span]]:
        """Return what a slab needs of each file, in the file's order, near spans joined."""
        found: dict[str, list[Span]] = {}
        for part in slab.parts:
            for name in set(part.item.result.models()) & self.files.keys():
                begin, width = self._span(name, part.item.key)
                found.setdefault(name, []).append((begin + part.start * width, begin + part.stop * width))
        return {name: list(_joined(sorted(spans))) for name, spans in sorted(found.items())}

    def in_order(self, name: str, items: Iterable[KeyPlan]) -> bool:
        """Return whether a file has tensors in the order in which they are read."""
        starts = [self._span(name, item.key)[0] for item in items if name in item.result.models()]
        return starts == sorted(starts)

    def _span(self, name: str, key: str) -> tuple[int, int]:
        reader = self.readers[name]
        assert isinstance(reader, Reader)
        return reader.span(key)

    def _width(self, item: KeyPlan) -> int:
        return sum(self._span(name, item.key)[1] for name in set(item.result.models()) & self.files.keys())


def _joined(spans: list[Span]) -> Iterator[Span]:
    start, stop = spans[0]
    for following, end in spans[1:]:
        if following - stop > NEAR:
            yield start, stop
            start = following
        stop = end
    yield start, stop
