"""The hashes by which a checkpoint is known: of the file, of its tensors, of each component."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from enogu.core.networks.direct import DirectFile, room, room_for, sha256_direct
from enogu.core.networks.folder import files_of
from enogu.core.networks.header import TensorInfo, open_read
from enogu.core.networks.keys import place
from enogu.core.networks.layouts import within
from enogu.core.networks.source import Source, open_source
from enogu.core.networks.stored import Stored
from enogu.core.networks.stream import as_bytes
from enogu.core.networks.torchfile import is_torch_file
from enogu.core.records.progress import Progress, silent

CHUNK_BYTES = 1 << 22
SMALL = 1 << 16  # bytes that are hashed sooner than handed to another thread
AUTO_V1 = (0x100000, 0x10000)  # the webui's first hash: 64 KiB at 1 MiB
UNTOLD = ("ids", "scale")  # position_ids and logit_scale: some files leave them out, and no picture needs them
Look = Callable[[str, Tensor], None]  # sees every tensor by its canonical key, stretch after stretch


@dataclass(frozen=True)
class Identity:
    """SHA-256 of the whole file (of a folder: of the list of its files' hashes), of the tensor bytes alone, and more.

    `components` are exact; `contents` are hashes of the values rounded to 16 bits, which do not tell a component
    that is stored in 32 bits from the same one in 16.
    """

    sha256: str
    data_sha256: str
    auto_v1: str
    components: Mapping[str, str]
    contents: Mapping[str, str]

    @property
    def auto_v2(self) -> str:
        """Return the webui's "Model hash"."""
        return self.sha256[:10]

    @property
    def auto_v3(self) -> str:
        """Return the hash that ignores the header, as the webui shows it."""
        return self.data_sha256[:12]


def auto_v1(path: Path) -> str:
    """Return the webui's legacy hash: quick, and not unique; a folder and a file of less than 1 MiB have none."""
    if path.is_dir():
        return ""
    offset, length = AUTO_V1
    with open_read(path) as handle:
        handle.seek(offset)
        data = handle.read(length)
    return hashlib.sha256(data).hexdigest()[:8] if data else ""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a checkpoint of any form, as `identify` tells it."""
    files = files_of(path)
    hashes = {_name(path, file): sha256_direct(file) for file in files}
    return hashes[_name(path, path)] if files == [path] else _listed(hashes)


def ignore(key: str, values: Tensor) -> None:
    """Look away."""


def identify(path: Path, progress: Progress = silent, *, look: Look = ignore) -> Identity:
    """Hash a checkpoint in one sequential read of each of its files, showing every stretch of values to `look`.

    A component's hash depends on its tensors' names within it, dtypes, shapes and bytes, not on their order or on
    what else is in the file: two checkpoints with the same VAE show the same hash for it, whatever their layout.
    """
    with open_source(path) as source, ThreadPoolExecutor(2) as pool:
        walk = _Walk(source, look, pool, progress)
        hashes = {_name(path, file): walk.file(file) for file in files_of(path)}
        walk.rest()
    single = not path.is_dir() and len(hashes) == 1
    plain = single and not is_torch_file(path)
    return Identity(
        sha256=next(iter(hashes.values())) if single else _listed(hashes),
        data_sha256=walk.data.hexdigest() if plain else "",
        auto_v1=auto_v1(path) if single else "",
        components=_joined(walk.exact),
        contents=_joined(walk.rounded),
    )


Digests = dict[str, dict[str, str]]  # component -> key within it -> hash


@dataclass
class _Walk:
    """Goes through files front to back; what is not one stretch of one file is read again, by its key."""

    source: Source
    look: Look
    pool: ThreadPoolExecutor
    progress: Progress
    data: Any = field(default_factory=hashlib.sha256)
    exact: Digests = field(default_factory=dict)
    rounded: Digests = field(default_factory=dict)
    done: int = 0

    def __post_init__(self) -> None:
        """Find out which stored tensors are canonical ones as they are."""
        slots = self.source.slots
        self.owners = {id(slot.parts[0]): key for key, slot in slots.items() if slot.plain}
        self.left = {key for key, slot in slots.items() if not slot.plain}
        self.total = sum(info.nbytes for info in self.source.header.tensors.values())
        self.memory = room(room_for(CHUNK_BYTES))

    def file(self, path: Path) -> str:
        """Return a file's hash, having hashed and shown its tensors."""
        whole, position = hashlib.sha256(), 0
        items = [item for item in self.source.stored.values() if item.file == path]
        with DirectFile(path) as file:
            for item in sorted(items, key=lambda item: (item.info.start, item.info.end)):
                key = self.owners.get(id(item), "")
                if item.info.start < position:  # it shares bytes with the one before it
                    self.left |= {key} if key else set()
                    continue
                for _ in self._read(file, position, item.info.start, hashes=(whole,)):
                    pass
                self._tensor(file, key, item, whole=whole)
                position = item.info.end
            for _ in self._read(file, position, file.size, hashes=(whole,)):
                pass
        return whole.hexdigest()

    def rest(self) -> None:
        """Hash and show what is made of several stored tensors, turned about or scaled."""
        for key in sorted(self.left):
            info, digests = self.source.header.tensors[key], _Digest(self, key)
            step = CHUNK_BYTES // info.torch_dtype.itemsize
            for start in range(0, info.numel, step):
                digests.add(self.source.stretch(key, start, min(start + step, info.numel)))
            digests.end()

    def _tensor(self, file: DirectFile, key: str, item: Stored, *, whole: Any) -> None:
        digests = _Digest(self, key) if key else None
        for piece in self._read(file, item.info.start, item.info.end, hashes=(whole, self.data)):
            if digests:
                digests.add(piece.view(item.info.torch_dtype))
        if digests:
            digests.end()

    def _read(self, file: DirectFile, start: int, stop: int, *, hashes: tuple[Any, ...]) -> Iterator[Tensor]:
        """Yield bytes [start, stop) as they are read; other threads hash them meanwhile."""
        for begin in range(start, stop, CHUNK_BYTES):
            view = file.read(begin, min(begin + CHUNK_BYTES, stop), self.memory)
            beside = [self.pool.submit(each.update, view) for each in hashes if len(view) > SMALL]
            for each in () if beside else hashes:
                each.update(view)
            yield torch.frombuffer(view, dtype=torch.uint8)
            for waiting in beside:
                waiting.result()
            self.done += len(view)
            self.progress(min(self.done, self.total), self.total, "bytes")


class _Digest:
    """The two hashes of one tensor."""

    def __init__(self, walk: _Walk, key: str) -> None:
        """Begin with what the header tells."""
        self.walk, self.key = walk, key
        info: TensorInfo = walk.source.header.tensors[key]
        self.narrow = info.is_float and info.dtype != "F16"
        self.exact = hashlib.sha256(f"{info.dtype}{list(info.shape)}".encode())
        self.rounded = hashlib.sha256(f"F16{list(info.shape)}".encode()) if self.narrow else self.exact

    def add(self, values: Tensor) -> None:
        """Hash and show a stretch of the tensor's values."""
        self.exact.update(as_bytes(values.contiguous()))
        if self.narrow:
            self.rounded.update(as_bytes(values.half()))
        self.walk.look(self.key, values)

    def end(self) -> None:
        """Hand the hashes to the walk."""
        component, key = place(self.key).component, within(self.key)
        self.walk.exact.setdefault(component, {})[key] = self.exact.hexdigest()
        if place(self.key).fixed not in UNTOLD:
            self.walk.rounded.setdefault(component, {})[key] = self.rounded.hexdigest()


def _joined(digests: Digests) -> dict[str, str]:
    """Return a hash per component, whatever the order of its tensors."""
    return {
        name: hashlib.sha256("".join(f"{k}={v};" for k, v in sorted(parts.items())).encode()).hexdigest()
        for name, parts in digests.items()
    }


def _name(path: Path, file: Path) -> str:
    return file.relative_to(path if path.is_dir() else path.parent).as_posix()


def _listed(hashes: Mapping[str, str]) -> str:
    return hashlib.sha256("".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes)).encode()).hexdigest()
