"""Tensors in and out of safetensors files: positioned reads, and one-pass writes that hash as they go."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Self

import torch

from enogu.core.networks.header import Spec, TensorInfo, header_bytes, layout, open_read, read_header
from enogu.core.records.errors import Failed, Refused
from enogu.core.records.files import atomic_path
from enogu.core.records.hashes import sha256_file

HASH_PLACEHOLDER = "0x" + "0" * 64  # replaced by the hash of the tensor bytes once they are written


class Reader:
    """Positioned reads from one file, safe from several threads."""

    def __init__(self, path: Path) -> None:
        """Read the header and open the file."""
        self.path = path
        self.header = read_header(path)
        self._file = open_read(path)

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
        """Read `count` elements from `start` on as they are stored."""
        result = torch.empty(count, dtype=dtype)
        self.read_into(name, as_bytes(result), offset=start * result.itemsize)
        return result

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
    """The hashes of a finished file: all of its bytes, and the tensor bytes alone (AutoV3)."""

    sha256: str
    data_sha256: str


@dataclass
class StreamWriter:
    """Writes one file front to back; `infos` gives the order in which tensors must come.

    A metadata value equal to HASH_PLACEHOLDER becomes "0x" and the hash of the tensor bytes. Until the
    end, `metadata` may be replaced by one that takes no more room.
    Use `open_writer`: it makes the file appear only when everything was written.
    """

    path: Path
    infos: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    written: Written | None = None
    _file: BinaryIO = field(init=False)
    _position: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Open the file and write its header."""
        self._digest = hashlib.sha256()
        self._hasher = ThreadPoolExecutor(1)
        self._file = self.path.open("wb", buffering=0)
        self._reserved = self._file.write(header_bytes(self.infos, self.metadata))

    def write(self, name: str, data: memoryview, *, offset: int = 0) -> None:
        """Append bytes of a tensor that belong `offset` bytes into it; hashing runs beside the write."""
        if self.infos[name].start + offset != self._position:
            raise ValueError(f"{name!r} at {offset} is out of order")
        hashed = self._hasher.submit(self._digest.update, data)
        self._position += len(data)
        try:
            while len(data):
                data = data[self._file.write(data) :]
        finally:
            hashed.result()

    def finish(self) -> None:
        """Check that all was written, fill in the hash, flush to the disk, and set `written`."""
        if self._position != max((info.end for info in self.infos.values()), default=0):
            raise ValueError("tensors are missing")
        data_hash = self._digest.hexdigest()
        filled = {key: "0x" + data_hash if text == HASH_PLACEHOLDER else text for key, text in self.metadata.items()}
        header = header_bytes(self.infos, filled, length=self._reserved)
        if len(header) > self._reserved:
            raise ValueError("the metadata grew while the tensors were written")
        self._file.seek(0)
        self._file.write(header)
        file_hash = self._hasher.submit(sha256_file, self.path)
        os.fsync(self._file.fileno())
        self.written = Written(file_hash.result(), data_hash)

    def close(self) -> None:
        """Let go of the file."""
        self._hasher.shutdown()
        self._file.close()


@contextmanager
def open_writer(path: Path, specs: Mapping[str, Spec], metadata: Mapping[str, str]) -> Iterator[StreamWriter]:
    """Yield a writer for `path`; the file appears, whole, when the block ends without an error."""
    infos = layout(specs)
    path.parent.mkdir(parents=True, exist_ok=True)
    needed = len(header_bytes(infos, metadata)) + sum(info.nbytes for info in infos.values())
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise Refused(f"{path} needs {needed:,} bytes and its disk has {free:,} free; make room first")
    try:
        with atomic_path(path) as part:
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
