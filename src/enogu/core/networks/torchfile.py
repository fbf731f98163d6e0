"""Files of torch.save (.ckpt, .pt, .bin, .pth): where each tensor's bytes lie, found without unpickling.

Source: torch/serialization.py: since 1.6 a zip of stored members, before it four pickles and the storages after them.
"""

import math
import os
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from enogu.core.networks.header import TORCH_DTYPES, TensorInfo, open_read
from enogu.core.networks.pickles import MAX_BYTES, Pickled, Storage, contiguous, read_pickle
from enogu.core.networks.stored import Contents, Stored
from enogu.core.records.errors import Refused

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the old form
LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip member: mark, length of its name, length of what is extra
STATES = ("state_dict", "model_state_dict", "model", "module", "params_ema", "params")  # where trainers keep weights
NOTES = ("epoch", "global_step", "pytorch-lightning_version")  # of lightning; worth telling


def is_torch_file(path: Path) -> bool:
    """Return whether a file begins as torch.save's do."""
    with open_read(path) as handle:
        begin = handle.read(16)
    pickled = begin[:1] == b"\x80" and begin[1:2] <= b"\x05" and begin[8:9] != b"{"  # where a JSON header begins
    return pickled or begin.startswith(b"PK\x03\x04")


def read_torch_file(path: Path) -> Contents:
    """Read what a file holds, or refuse it whole."""
    with open_read(path) as handle:
        try:
            zipped = handle.read(4) == b"PK\x03\x04"
            made, places = _zipped(handle) if zipped else _legacy(handle)
            return _contents(path, made, places)
        except Refused as refusal:
            raise Refused(f"{path}: {refusal}") from None
        except (zipfile.BadZipFile, struct.error, NotImplementedError, EOFError, ValueError, OverflowError) as problem:
            raise Refused(f"{path}: a broken or truncated zip ({problem}); download or copy it again") from None


Places = Mapping[str, tuple[int, int]]  # storage -> first byte, number of bytes


def _zipped(handle: BinaryIO) -> tuple[Any, Places]:
    with zipfile.ZipFile(handle) as archive:
        members = archive.infolist()
        found = [item for item in members if item.filename == "data.pkl" or item.filename.endswith("/data.pkl")]
        if len(found) != 1:
            raise Refused(f"a zip with {len(found)} data.pkl in it; torch.save writes exactly one")
        if squeezed := [item.filename for item in members if item.compress_type != zipfile.ZIP_STORED]:
            raise Refused(f"a compressed zip ({squeezed[0]}); torch.save compresses nothing, so this may be a zip bomb")
        spans = dict(_spans(handle, members))
        root = found[0].filename.removesuffix("data.pkl")
        if root + "byteorder" in spans and _bytes(handle, spans[root + "byteorder"]) != b"little":
            raise Refused("its numbers are big-endian; save it again on the machine that it was made on")
        made, _ = read_pickle(_bytes(handle, spans[found[0].filename]))
        storages = {name.removeprefix(root + "data/"): span for name, span in spans.items() if root + "data/" in name}
        return made, storages


def _spans(handle: BinaryIO, members: list[zipfile.ZipInfo]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield where stored members lie; two that overlap are a bomb's trick."""
    free = 0
    for item in sorted(members, key=lambda item: item.header_offset):
        handle.seek(max(item.header_offset, 0))
        mark, name, extra = LOCAL_HEADER.unpack(handle.read(LOCAL_HEADER.size))
        start = item.header_offset + LOCAL_HEADER.size + name + extra
        if mark != b"PK\x03\x04" or item.header_offset < free or item.compress_size != item.file_size:
            raise Refused(f"{item.filename} is not where the zip's directory says, or overlaps another member")
        free = start + item.file_size
        if free > os.fstat(handle.fileno()).st_size:
            raise Refused(f"truncated: {item.filename} ends behind the file's end; download or copy it again")
        yield item.filename, (start, item.file_size)


def _bytes(handle: BinaryIO, span: tuple[int, int]) -> bytes:
    start, length = span
    if length > MAX_BYTES:
        raise Refused(f"its pickle takes {length:,} bytes; no checkpoint needs more than {MAX_BYTES:,}")
    handle.seek(start)
    return handle.read(length)


def _legacy(handle: BinaryIO) -> tuple[Any, Places]:
    size = os.fstat(handle.fileno()).st_size
    raw = _bytes(handle, (0, min(size, MAX_BYTES)))
    magic, end = read_pickle(raw)
    if magic != MAGIC:
        raise Refused("a pickle, but none of torch.save's; only tensors are read")
    _, end = read_pickle(raw, start=end)
    system, end = read_pickle(raw, start=end)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise Refused("its numbers are big-endian; save it again on the machine that it was made on")
    made, end = read_pickle(raw, start=end)
    keys, end = read_pickle(raw, start=end)
    sizes = {item.storage.key: item.storage for item in _tensors(made).values()}
    places = {}
    for key in keys if isinstance(keys, list) else []:
        handle.seek(end)
        count = int.from_bytes(handle.read(8), "little")
        storage = sizes.get(str(key)) or _unseen(str(key), made)
        nbytes = count * TORCH_DTYPES[storage.dtype].itemsize
        places[str(key)] = (end + 8, nbytes)
        end += 8 + nbytes
        if end > size:
            raise Refused(f"truncated: storage {key} ends {end - size:,} bytes behind the file's end")
    return made, places


def _unseen(key: str, made: Any) -> Storage:
    """Return a storage that no weight uses: an optimiser's, whose size is needed to find the next."""
    stack, seen = [made], set()
    while stack:
        item = stack.pop()
        if isinstance(item, Pickled) and item.storage.key == key:
            return item.storage
        if isinstance(item, dict | list | tuple) and id(item) not in seen:
            seen.add(id(item))
            stack += item.values() if isinstance(item, dict) else item
    raise Refused(f"its storage {key} belongs to no tensor")


def _tensors(made: Any) -> dict[str, Pickled]:
    """Return the tensors of a state dict, wherever the trainer keeps it."""
    if not isinstance(made, dict):
        raise Refused("it holds no state dict, only other data")
    for part in (made, *(made[key] for key in STATES if isinstance(made.get(key), dict))):
        found = {str(key): item for key, item in part.items() if isinstance(item, Pickled)}
        if found:
            return found
    raise Refused(f"no tensors were found in it, only {', '.join(map(str, list(made)[:6])) or 'nothing'}")


def _contents(path: Path, made: Any, places: Places) -> Contents:
    tensors = {
        name: Stored(path, _info(name, item, places), () if contiguous(item) else item.strides)
        for name, item in _tensors(made).items()
    }
    notes = {key: str(made[key]) for key in NOTES if isinstance(made.get(key), int | str)}
    return Contents(tensors, notes)


def _info(name: str, item: Pickled, places: Places) -> TensorInfo:
    width, count = TORCH_DTYPES[item.dtype].itemsize, math.prod(item.shape)
    last = sum((side - 1) * stride for side, stride in zip(item.shape, item.strides, strict=True)) if count else -1
    if item.storage.key not in places:
        raise Refused(f"truncated: the data of {name!r} (storage {item.storage.key}) is not in the file")
    start, nbytes = places[item.storage.key]
    if (item.offset + last + 1) * width > nbytes or count > last + 1:
        raise Refused(f"{name!r} reaches beyond its {nbytes:,} bytes")
    return TensorInfo(item.dtype, item.shape, start + item.offset * width, start + (item.offset + last + 1) * width)
