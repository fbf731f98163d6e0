"""The header of a safetensors file: checked whole before any tensor is read, and written the same way every time.

Source: huggingface/safetensors, README "Format": 8 bytes of length, a JSON header, the data without holes.
"""

import json
import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO

import torch

from enogu.core.records.errors import Refused

MAX_HEADER_BYTES = 100_000_000  # the reference reader's limit
ALIGNMENT = 8  # the reference writer pads its header to this
TORCH_DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "I64": torch.int64,
    "U64": torch.uint64,
    "C64": torch.complex64,
    "F32": torch.float32,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
STRANGERS: Mapping[bytes, str] = {  # how what is often taken for a checkpoint begins
    b"version https://git-lfs": "a Git LFS pointer; `git lfs pull` brings the file that it stands for",
    b"<": "a web page, perhaps of a download that wants a login",
    b"{": "JSON",
    b"\x89PNG": "a PNG picture",
    b"PK": "a zip archive; a checkpoint of PyTorch is called .ckpt or .pt",
    b"GGUF": "a GGUF file",
}
LONGEST_START = max(map(len, STRANGERS))
CODES: Mapping[torch.dtype, str] = {dtype: code for code, dtype in TORCH_DTYPES.items()}


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a file: its safetensors dtype code, its shape, its bytes within the data section."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int
    scaled: bool = False  # stored in 8 bits and shown times its scale, which needs no more than 16

    @property
    def nbytes(self) -> int:
        """Return the number of bytes in the file."""
        return self.end - self.start

    @property
    def numel(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)

    @property
    def torch_dtype(self) -> torch.dtype:
        """Return the dtype as torch names it."""
        return TORCH_DTYPES[self.dtype]

    @property
    def is_float(self) -> bool:
        """Return whether the elements are real floating-point numbers."""
        return self.torch_dtype.is_floating_point


@dataclass(frozen=True)
class Header:
    """What a file says about itself, in the order of its header."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    data_start: int


def read_header(path: Path) -> Header:
    """Read and check a header; refuse a file that the reference reader would refuse, and say why."""
    with open_read(path) as handle:
        size = os.fstat(handle.fileno()).st_size
        length = int.from_bytes(handle.read(8), "little")
        if size < 8:
            raise Refused(f"{path}: {size} bytes are too few for a safetensors file; it is truncated")
        if length > MAX_HEADER_BYTES:
            handle.seek(0)
            raise Refused(f"{path}: not a safetensors file: {_strange(handle.read(LONGEST_START), length)}")
        if 8 + length > size:
            raise Refused(f"{path}: truncated within its header; download or copy it again")
        raw = handle.read(length)
    try:
        return parse_header(raw, data_bytes=size - 8 - length)
    except Refused as refusal:
        raise Refused(f"{path}: {refusal}") from None


def _strange(start: bytes, length: int) -> str:
    kinds = (what for known, what in STRANGERS.items() if start.startswith(known))
    return next(kinds, f"its header would take {length:,} bytes")


def parse_header(raw: bytes, *, data_bytes: int) -> Header:
    """Parse the JSON of a header and check it against the length of the data section."""
    try:
        entries = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    except Refused:
        raise
    except (ValueError, RecursionError) as problem:
        raise Refused(f"its header is not JSON ({problem})") from None
    if not isinstance(entries, dict):
        raise Refused("its header is not a JSON object")
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise Refused("its __metadata__ is not a map of strings to strings")
    tensors = {name: _info(name, entry) for name, entry in entries.items()}
    _check_layout(tensors, data_bytes)
    return Header(tensors, metadata, 8 + len(raw))


@dataclass(frozen=True)
class Spec:
    """A tensor to be written: its dtype and shape."""

    dtype: torch.dtype
    shape: tuple[int, ...]


def layout(specs: Mapping[str, Spec]) -> dict[str, TensorInfo]:
    """Place tensors as the reference writer does: wide elements first, then by name; always aligned."""
    infos, start = {}, 0
    for name in sorted(specs, key=lambda name: (-specs[name].dtype.itemsize, name)):
        spec = specs[name]
        end = start + math.prod(spec.shape) * spec.dtype.itemsize
        infos[name] = TensorInfo(CODES[spec.dtype], spec.shape, start, end)
        start = end
    return infos


def header_bytes(infos: Mapping[str, TensorInfo], metadata: Mapping[str, str], *, length: int = 0) -> bytes:
    """Serialise a header, its length first, padded with spaces to the alignment and to at least `length` bytes."""
    entries: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    for name, info in infos.items():
        entries[name] = {
            "dtype": info.dtype,
            "shape": list(info.shape),
            "data_offsets": [info.start, info.end],
        }
    raw = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    raw += b" " * max(-len(raw) % ALIGNMENT, length - 8 - len(raw))
    if len(raw) > MAX_HEADER_BYTES:
        raise Refused(f"the header would take {len(raw):,} bytes; readers stop at {MAX_HEADER_BYTES:,}")
    return len(raw).to_bytes(8, "little") + raw


def open_read(path: Path) -> BinaryIO:
    """Open a file for reading, or refuse and say why."""
    try:
        return path.open("rb")
    except FileNotFoundError as problem:
        near = get_close_matches(path.name, os.listdir(path.parent), n=1) if path.parent.is_dir() else []
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise Refused(f"{path}: {problem.strerror}{hint}") from None
    except OSError as problem:
        raise Refused(f"{path}: {problem.strerror}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise Refused(f"{twice!r} appears twice in its header")
    return result


def _info(name: str, entry: Any) -> TensorInfo:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise Refused(f"{name!r} lacks a dtype, a shape or offsets in its header")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in TORCH_DTYPES:
        raise Refused(f"{name!r} has the dtype {dtype!r}, which enogu does not read")
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2:
        raise Refused(f"{name!r} has a broken shape or offsets: {shape!r}, {offsets!r}")
    info = TensorInfo(dtype, tuple(shape), offsets[0], offsets[1])
    if info.nbytes != info.numel * info.torch_dtype.itemsize:
        raise Refused(f"{name!r} takes {info.nbytes:,} bytes, which {dtype}{list(shape)} does not")
    return info


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_layout(tensors: Mapping[str, TensorInfo], data_bytes: int) -> None:
    position = 0
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if info.end > data_bytes:
            raise Refused(f"truncated: {name!r} ends {info.end - data_bytes:,} bytes behind the file's end")
        if info.start != position:
            what = "overlaps the tensor before it" if info.start < position else "leaves a hole before it"
            raise Refused(f"{name!r} {what} (at byte {info.start:,} of the data)")
        position = info.end
    if position != data_bytes:
        raise Refused(f"{data_bytes - position:,} bytes behind its last tensor belong to nothing")
