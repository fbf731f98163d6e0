"""File I/O past the page cache: large aligned blocks between the disk and memory of our own.

A merge reads every byte once, so the page cache would be filled in vain, which costs more time than the arithmetic.
What lies in the cache already is read from there; where a system or a disk knows no direct I/O, all is plain.
Source: open(2), O_DIRECT; preadv2(2), RWF_NOWAIT.
"""

import errno
import fcntl
import hashlib
import mmap
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Self

import numpy as np

from enogu.core.networks.header import open_read
from enogu.core.records.errors import Failed

ALIGNMENT = 4096  # of positions, lengths and memory; what every disk of today can do
BLOCK_BYTES = 8 << 20  # per read or write when a whole file goes by
BLOCKS = 3  # in the hands of a writer: one is filled, one written, one hashed
DIRECT_FROM = 64 << 20  # bytes of a file below which the page cache does no harm and is soon read again
HUGE_PAGE = 2 << 20  # bytes; memory in such pages is found sooner
PROBES = 8  # places of a file that are looked for in the page cache
_DIRECT = getattr(os, "O_DIRECT", 0)
_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}
_IF_CACHED = getattr(os, "RWF_NOWAIT", 0)


def map_file(descriptor: int) -> mmap.mmap:
    """Return a file's bytes mapped into memory."""
    return mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)  # private: torch asks for memory that it may write


def room(nbytes: int) -> memoryview:
    """Return zeroed memory that direct I/O can use; the system takes it back when nothing refers to it."""
    memory = mmap.mmap(-1, max(nbytes, 1), **_PRIVATE)
    if nbytes >= HUGE_PAGE and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a system without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)


def room_for(nbytes: int) -> int:
    """Return how much memory a read of so many bytes needs, wherever in the file it begins."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT + 2 * ALIGNMENT


class DirectFile:
    """A file read in large pieces, from several threads if need be."""

    def __init__(self, path: Path) -> None:
        """Open the file both ways; choose by whether it lies in the page cache."""
        self.path = path
        self._plain = open_read(path)
        self.size = os.fstat(self._plain.fileno()).st_size
        self._direct = -1 if _is_cached(self._plain.fileno(), self.size) else _open_direct(path, os.O_RDONLY)

    def read(self, start: int, stop: int, memory: memoryview) -> memoryview:
        """Return bytes [start, stop), read into aligned memory of `room_for` their number."""
        begin = start // ALIGNMENT * ALIGNMENT
        wanted = -(-stop // ALIGNMENT) * ALIGNMENT - begin
        done = 0
        while begin + done < stop:
            count = self._read_some(begin + done, memory[done:wanted])
            if count == 0:
                raise Failed(f"{self.path}: ended while it was read; did another program cut it?")
            done += count
        return memory[start - begin : stop - begin]

    def _read_some(self, position: int, memory: memoryview) -> int:
        if self._direct >= 0 and position % ALIGNMENT == 0:
            try:
                return os.preadv(self._direct, [memory], position)
            except OSError as problem:
                if problem.errno != errno.EINVAL:
                    raise
        return os.preadv(self._plain.fileno(), [memory], position)

    def __enter__(self) -> Self:
        """Return the open file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._plain.close()
        if self._direct >= 0:
            os.close(self._direct)


class MappedFile(DirectFile):
    """A file mapped into memory: whoever touches its bytes reads them, and the page cache keeps them."""

    def __init__(self, path: Path) -> None:
        """Map the file."""
        super().__init__(path)
        self._map = map_file(self._plain.fileno())

    def read(self, start: int, stop: int, memory: memoryview) -> memoryview:
        """Return bytes [start, stop) where they lie, and leave `memory` alone."""
        return memoryview(self._map)[start:stop]


class BlockWriter:
    """Writes a file front to back in blocks; each is written and hashed while the next is filled."""

    def __init__(self, path: Path, *, size: int, skip: int) -> None:
        """Open a file that will have `size` bytes; its first `skip` are not hashed, for they may be replaced."""
        self.position = 0
        self._size, self._skip, self._digest = size, skip, hashlib.sha256()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        self._file = _open_direct(path, flags) if size >= DIRECT_FROM else -1
        self._file = os.open(path, flags, 0o666) if self._file < 0 else self._file
        self._memory = [room(min(BLOCK_BYTES, room_for(size))) for _ in range(BLOCKS)]
        self._writer, self._hasher = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._busy: list[list[Future[None]]] = [[] for _ in range(BLOCKS)]

    def append(self, data: memoryview) -> None:
        """Take over the next bytes."""
        while len(data):
            index, offset = divmod(self.position, BLOCK_BYTES)
            if offset == 0:
                self._wait(index % BLOCKS)
            count = min(BLOCK_BYTES - offset, len(data))
            block = np.asarray(self._memory[index % BLOCKS])
            np.copyto(block[offset : offset + count], data[:count])  # other threads go on meanwhile
            self.position += count
            data = data[count:]
            if offset + count == BLOCK_BYTES:
                self._send(index, BLOCK_BYTES)

    def finish(self) -> str:
        """Write what is left and return the SHA-256 of the bytes behind the skipped ones."""
        index, offset = divmod(self.position, BLOCK_BYTES)
        if offset:
            self._send(index, offset)
        for number in range(BLOCKS):
            self._wait(number)
        os.truncate(self._file, self._size)  # direct writes are whole sectors
        return self._digest.hexdigest()

    def replace(self, start: bytes) -> None:
        """Write the first bytes again and let all reach the disk."""
        _make_plain(self._file)
        _write_all(self._file, 0, memoryview(start))
        os.fsync(self._file)

    def close(self) -> None:
        """Let go of the file, whatever is still under way."""
        self._writer.shutdown(cancel_futures=True)
        self._hasher.shutdown(cancel_futures=True)
        os.close(self._file)

    def _send(self, index: int, count: int) -> None:
        start, memory = index * BLOCK_BYTES, self._memory[index % BLOCKS]
        whole = min(-(-count // ALIGNMENT) * ALIGNMENT, len(memory))
        hashed = memory[min(max(self._skip - start, 0), count) : count]
        self._busy[index % BLOCKS] = [
            self._writer.submit(_write_all, self._file, start, memory[:whole]),
            self._hasher.submit(self._digest.update, hashed),
        ]

    def _wait(self, number: int) -> None:
        for job in self._busy[number]:
            job.result()


def _write_all(descriptor: int, position: int, data: memoryview) -> None:
    while len(data):
        try:
            count = os.pwrite(descriptor, data, position)
        except OSError as problem:
            if problem.errno != errno.EINVAL or not _make_plain(descriptor):
                raise
            continue
        data, position = data[count:], position + count


def _make_plain(descriptor: int) -> bool:
    """Let a descriptor write any bytes again; return whether it could not before."""
    if not _DIRECT:
        return False
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~_DIRECT)
    return bool(flags & _DIRECT)


def sha256_direct(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, the next block read while one is hashed."""
    digest = hashlib.sha256()
    with DirectFile(path) as file, ThreadPoolExecutor(1) as pool:
        memory = [room(room_for(BLOCK_BYTES)) for _ in range(2)]
        starts = range(0, file.size, BLOCK_BYTES)
        blocks = [(start, min(start + BLOCK_BYTES, file.size), memory[i % 2]) for i, start in enumerate(starts)]
        waiting = [pool.submit(file.read, *block) for block in blocks[:1]]
        for following in [*blocks[1:], None]:
            if waiting:
                data = waiting.pop().result()
                waiting += [pool.submit(file.read, *following)] if following else []
                digest.update(data)
    return digest.hexdigest()


def _is_cached(descriptor: int, size: int) -> bool:
    """Return whether most probes of a file find it in the page cache, without reading it into there."""
    if not _IF_CACHED or not hasattr(os, "posix_fadvise"):
        return True
    found = 0
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)  # or a miss would begin a read-ahead
    for probe in range(PROBES):
        try:
            found += os.preadv(descriptor, [bytearray(1)], size * probe // PROBES, _IF_CACHED)
        except OSError:  # not there, or a file system that cannot tell
            continue
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    return 2 * found > PROBES


def _open_direct(path: Path, flags: int) -> int:
    if not _DIRECT:
        return -1
    try:
        return os.open(path, flags | _DIRECT, 0o666)
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
        return -1
