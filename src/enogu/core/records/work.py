"""Work on batches in order, on threads of this machine; core/records/cluster.py does the same on many machines."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

AHEAD = 3  # batches prepared before the one that is finished

Item = TypeVar("Item", contravariant=True)
Ready = TypeVar("Ready")
Result = TypeVar("Result", covariant=True)


class Work(Protocol[Item, Ready, Result]):
    """A pure function of a batch in two steps; pickled, it is how to open it again (its models by their paths)."""

    @property
    def reads(self) -> Sequence[Path]:
        """Absolute paths that whoever does the work must see."""

    def prepare(self, item: Item, /) -> Ready:
        """Do what concerns one item alone: on threads, ahead."""

    def finish(self, batch: Sequence[Ready], /) -> Result:
        """Do the rest for a batch as a whole: one after another, by models that have threads of their own."""


class Executor(Protocol):
    """Where work is done."""

    def map(self, work: Work[Item, Ready, Result], batches: Iterable[Sequence[Item]]) -> Iterator[Result]:
        """Yield the result of every batch, in their order; batches are taken only shortly before they are needed."""


@dataclass(frozen=True)
class Threads:
    """Threads of this process; 0: one per core."""

    threads: int = 0

    def map(self, work: Work[Item, Ready, Result], batches: Iterable[Sequence[Item]]) -> Iterator[Result]:
        """Prepare a few batches ahead of the one that is finished."""
        with _pool(self.threads or os.cpu_count() or 1) as pool:
            queue: deque[list[Future[Ready]]] = deque()
            for batch in batches:
                queue.append([pool.submit(work.prepare, item) for item in batch])
                if len(queue) > AHEAD:
                    yield work.finish([future.result() for future in queue.popleft()])
            while queue:
                yield work.finish([future.result() for future in queue.popleft()])


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Yield threads that drop what they have not begun when the work is broken off."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
