"""Tensors in and out of safetensors files: positioned reads, and one-pass writes that hash as they go."""

import errno
import os
import shutil
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Self

import torch

from enogu.core.networks.direct import BlockWriter
from enogu.core.networks.header import Spec, TensorInfo, header_bytes, layout, open_read, read_header
from enogu.core.records.errors import Failed, Refused
from enogu.core.records.files import atomic_path, sweep_dead

HASH_PLACEHOLDER = "0x" + "0" * 64  # replaced by the hash of the tensor bytes once they are written


@dataclass(frozen=True)
class Window:
    """Bytes [start, start + len(data)) of a file."""

    start: int
    data: memoryview

    @property
    def stop(self) -> int:
        """Return the position behind the last byte."""
        return self.start + len(self.data)


@dataclass(frozen=True)
class Span:
    """Where a tensor's elements lie: the file, the first byte, the bytes of each."""

    file: Path
    start: int
    width: int


class Reader:
    """Positioned reads from one file, safe from several threads."""

    _windows: Mapping[Path, Sequence[Window]] = MappingProxyType({})

    def __init__(self, path: Path) -> None:
        """Read the header and open the file."""
        self.path = path
        self.header = read_header(path)
        self._file = open_read(path)

    def span(self, name: str) -> Span | None:
        """Return where a tensor's elements lie, or None where they do not lie one after another."""
        info = self.header.tensors[name]
        return Span(self.path, self.header.data_start + info.start, info.torch_dtype.itemsize)

    def over(self, windows: Mapping[Path, Sequence[Window]]) -> Self:
        """Return this reader with bytes at hand that were read before: by file, in order, without overlap."""
        twin = copy(self)
        twin._windows = windows
        return twin

    def read_into(self, name: str, buffer: memoryview, *, offset: int = 0) -> None:
        """Fill a buffer of bytes from a tensor's bytes, starting `offset` bytes into them."""
        self.read_at(self.header.data_start + self.header.tensors[name].start + offset, buffer, what=name)

    def read_at(self, position: int, buffer: memoryview, *, what: str) -> None:
        """Fill a buffer from a position of the file."""
        while len(buffer):
            count = os.preadv(self._file.fileno(), [buffer], position)
            if count == 0:
                raise Failed(f"{self.path}: ended while {what!r} was read; did another program cut it?")
            buffer, position = buffer[count:], position + count

    def tensor(self, name: str) -> torch.Tensor:
        """Read a whole tensor."""
        info = self.header.tensors[name]
        return self.stretch(name, 0, info.numel).reshape(info.shape)

    def stretch(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Read elements [start, stop) of a tensor, flat."""
        return self.raw(name, self.header.tensors[name].torch_dtype, start, count=stop - start)

    def raw(self, name: str, dtype: torch.dtype, start: int, *, count: int) -> torch.Tensor:
        """Return `count` elements from `start` on as they are stored; of a window, shared with it."""
        position = self.header.data_start + self.header.tensors[name].start + start * dtype.itemsize
        at_hand = self.at_hand(self.path, position, position + count * dtype.itemsize)
        if at_hand is not None:
            return torch.frombuffer(at_hand, dtype=dtype)
        result = torch.empty(count, dtype=dtype)
        self.read_into(name, as_bytes(result), offset=start * result.itemsize)
        return result

    def at_hand(self, file: Path, start: int, stop: int) -> memoryview | None:
        """Return bytes [start, stop) of a file if they were read before."""
        windows = self._windows.get(file, ())
        index = bisect_right(windows, start, key=lambda window: window.start) - 1
        if index < 0 or stop == start or stop > windows[index].stop:
            return None
        window = windows[index]
        return window.data[start - window.start : stop - window.start]

    def __enter__(self) -> Self:
        """Return the open reader."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()


def as_bytes(tensor: torch.Tensor) -> memoryview:
    """Return the bytes of a contiguous CPU tensor, shared with it."""
    flat = tensor.detach().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy()) if flat.numel() else memoryview(b"")  # type: ignore[arg-type]


@dataclass(frozen=True)
class Written:
    """What is known of a finished file without reading it again: the SHA-256 of its tensor bytes (AutoV3).

    The hash of all its bytes cannot be taken on the way, for the header, which comes first, holds this one.
    """

    data_sha256: str


@dataclass
class StreamWriter:
    """Writes one file front to back; `infos` gives the order in which tensors must come.

    A metadata value equal to HASH_PLACEHOLDER becomes "0x" and the hash of the tensor bytes. Until the
    end, `metadata` may be replaced by one that takes no more room. Bytes are gathered in blocks, which are
    written and hashed beside what comes next. Use `open_writer`: the file appears only when all was written.
    """

    path: Path
    infos: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    written: Written | None = None
    _blocks: BlockWriter = field(init=False)

    def __post_init__(self) -> None:
        """Open the file and write its header."""
        header = header_bytes(self.infos, self.metadata)
        self._start = len(header)
        self._blocks = BlockWriter(self.path, size=self._start + self._data_bytes(), skip=self._start)
        self._blocks.append(memoryview(header))

    def write(self, name: str, data: memoryview, *, offset: int = 0) -> None:
        """Append bytes of a tensor that belong `offset` bytes into it."""
        if self._start + self.infos[name].start + offset != self._blocks.position:
            raise ValueError(f"{name!r} at {offset} is out of order")
        self._blocks.append(data)

    def finish(self) -> None:
        """Check that all was written, fill in the hash, flush to the disk, and set `written`."""
        if self._blocks.position != self._start + self._data_bytes():
            raise ValueError("tensors are missing")
        data_hash = self._blocks.finish()
        filled = {key: "0x" + data_hash if text == HASH_PLACEHOLDER else text for key, text in self.metadata.items()}
        header = header_bytes(self.infos, filled, length=self._start)
        if len(header) > self._start:
            raise ValueError("the metadata grew while the tensors were written")
        self._blocks.replace(header)
        self.written = Written(data_hash)

    def close(self) -> None:
        """Let go of the file."""
        self._blocks.close()

    def _data_bytes(self) -> int:
        return max((info.end for info in self.infos.values()), default=0)


@contextmanager
def open_writer(path: Path, specs: Mapping[str, Spec], metadata: Mapping[str, str]) -> Iterator[StreamWriter]:
    """Yield a writer for `path`; the file appears, whole, when the block ends without an error."""
    infos = layout(specs)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_dead(path)
    needed = len(header_bytes(infos, metadata)) + sum(info.nbytes for info in infos.values())
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise Refused(f"{path} needs {needed:,} bytes and its disk has {free:,} free; make room first")
    try:
        with atomic_path(path, hold=True) as part:
            writer = StreamWriter(part, infos, metadata)
            try:
                yield writer
                writer.finish()
            finally:
                writer.close()
    except OSError as problem:
        if problem.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise Failed(f"{path}: {problem.strerror}; nothing was written, make room and run again") from None


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> Written:
    """Write whole tensors to a file, atomically; the same input gives the same bytes."""
    specs = {name: Spec(t.dtype, tuple(t.shape)) for name, t in tensors.items()}
    with open_writer(path, specs, metadata) as writer:
        for name in writer.infos:
            writer.write(name, as_bytes(tensors[name].cpu().contiguous()))
    assert writer.written is not None
    return writer.written
