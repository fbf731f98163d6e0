"""A checkpoint opened for reading, whatever its form: canonical keys, and 8-bit weights already times their scales."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from enogu.core.networks.diffusers import Spelling
from enogu.core.networks.direct import map_file
from enogu.core.networks.folder import read_contents
from enogu.core.networks.fp8 import COMFY_NOTE, FORMATS, QUANTIZATION, SIDE, is_marker, scale_key, widen
from enogu.core.networks.header import Header, TensorInfo, open_read
from enogu.core.networks.naming import resolve
from enogu.core.networks.stored import Stored
from enogu.core.networks.stream import Reader, Span
from enogu.core.records.errors import Failed, Refused

NARROW = ("F8_E4M3", "F8_E5M2", "I8")


@dataclass(frozen=True)
class Slot:
    """What one canonical tensor is made of: stored ones laid end to end or one turned about, and maybe a scale."""

    parts: tuple[Stored, ...]
    turned: bool = False
    scale: Stored | None = None

    @property
    def plain(self) -> bool:
        """Return whether the tensor is one stretch of bytes in one file."""
        return len(self.parts) == 1 and not self.turned and self.scale is None and not self.parts[0].strides


class Source(Reader):
    """A reader whose header shows the tensors as the rest of the program means them.

    Files are read by position. `mapped` maps them into memory instead: quicker where several programs read the same
    file on a local disk, slow on network disks, and a file that is cut while it is read ends the program.
    """

    def __init__(self, path: Path, *, mapped: bool = False) -> None:
        """Open the file, the shards or the folder."""
        self.path = path
        contents = read_contents(path)
        self.stored: Mapping[str, Stored] = contents.tensors
        if not self.stored:
            raise Refused(f"{path} holds no tensors")
        self._files = {file: open_read(file) for file in dict.fromkeys(item.file for item in self.stored.values())}
        self._maps = {file: map_file(handle.fileno()) for file, handle in self._files.items()} if mapped else {}
        self._held: tuple[Stored, Tensor] | None = None
        self._check_formats()
        spelt = resolve({key: item.info.shape for key, item in self.stored.items()})
        self.slots = {name: self._slot(spelling) for name, spelling in spelt.items() if self._shown(spelling)}
        self.names = {name: spelling.names for name, spelling in spelt.items()}
        self.quantization = contents.metadata.get(QUANTIZATION, "")
        self.renamed = sorted(name for name, spelling in spelt.items() if spelling.names != (name,))
        tensors = {name: _seen(slot, spelt[name].flat) for name, slot in self.slots.items()}
        metadata = {key: text for key, text in contents.metadata.items() if key != QUANTIZATION}
        self.header = Header(tensors, metadata, 0)

    def span(self, name: str) -> Span | None:
        """Return where a tensor's stored elements lie, if they lie one after another."""
        slot = self.slots[name]
        if slot.turned or len(slot.parts) > 1 or slot.parts[0].strides:
            return None
        (part,) = slot.parts
        return Span(part.file, part.info.start, part.info.torch_dtype.itemsize)

    def read_into(self, name: str, buffer: memoryview, *, offset: int = 0) -> None:
        """Fill a buffer from the stored bytes of a tensor, which must be plain."""
        (part,) = self.slots[name].parts
        self._read(part.file, part.info.start + offset, buffer)

    def stretch(self, name: str, start: int, stop: int) -> Tensor:
        """Read elements [start, stop) of a tensor, flat; scaled ones as float32."""
        slot = self.slots[name]
        if slot.turned:
            return self._rearranged(slot.parts[0], turned=True)[start:stop]
        pieces, position, dtype = [], 0, self.header.tensors[name].torch_dtype
        for part in slot.parts:
            begin, end = max(start - position, 0), min(stop - position, part.info.numel)
            if begin < end or len(slot.parts) == 1:
                pieces.append(self._part(part, begin, end))
            position += part.info.numel
        values = pieces[0] if len(pieces) == 1 else torch.cat([piece.to(dtype) for piece in pieces])
        if slot.scale is None:
            return values
        return widen(values, self.whole(slot.scale), start, shape=slot.parts[0].info.shape)

    def beside(self, name: str) -> dict[str, Tensor]:
        """Return the scales and notes that accompany a scaled weight, by the endings of their keys."""
        layer = self.names[name][0].removesuffix(".weight")
        return {ending: self.whole(self.stored[layer + ending]) for ending in SIDE if layer + ending in self.stored}

    def markers(self) -> dict[str, Tensor]:
        """Return the tensors that say that a file's weights are scaled."""
        return {key: self.whole(item) for key, item in self.stored.items() if is_marker(key)}

    def whole(self, part: Stored) -> Tensor:
        """Return a stored tensor as it is."""
        info = part.info
        if not part.strides:
            return self._elements(part, 0, info.numel).reshape(info.shape)
        window = self._elements(part, 0, info.nbytes // info.torch_dtype.itemsize)
        return window.as_strided(info.shape, part.strides).contiguous()

    def _part(self, part: Stored, start: int, stop: int) -> Tensor:
        if part.strides:
            return self._rearranged(part)[start:stop]
        return self._elements(part, start, stop)

    def _rearranged(self, part: Stored, *, turned: bool = False) -> Tensor:
        """Return all elements of a tensor that lies in another order, and keep them: it is asked for in pieces."""
        held = self._held
        if held is None or held[0] is not part:
            whole = self.whole(part)
            held = self._held = part, (whole.t() if turned else whole).reshape(-1)
        return held[1]

    def _elements(self, part: Stored, start: int, stop: int) -> Tensor:
        dtype = part.info.torch_dtype
        position = part.info.start + start * dtype.itemsize
        if part.file in self._maps and stop > start:
            return torch.frombuffer(self._maps[part.file], dtype=dtype, count=stop - start, offset=position)
        at_hand = self.at_hand(part.file, position, position + (stop - start) * dtype.itemsize)
        if at_hand is not None:
            return torch.frombuffer(at_hand, dtype=dtype)
        result = torch.empty(stop - start, dtype=dtype)
        if stop > start:
            self._read(part.file, position, memoryview(result.view(torch.uint8).numpy()))  # type: ignore[arg-type]
        return result

    def _read(self, file: Path, position: int, buffer: memoryview) -> None:
        while len(buffer):
            count = os.preadv(self._files[file].fileno(), [buffer], position)
            if count == 0:
                raise Failed(f"{file}: ended while it was read; did another program cut it?")
            buffer, position = buffer[count:], position + count

    def _slot(self, spelling: Spelling) -> Slot:
        parts = tuple(self.stored[name] for name in spelling.names)
        scale = scale_key(spelling.names[0], self.stored) if parts[0].info.dtype in NARROW else ""
        return Slot(parts, spelling.turned, self.stored[scale] if scale else None)

    def _shown(self, spelling: Spelling) -> bool:
        return not (spelling.names[0].endswith(SIDE) or is_marker(spelling.names[0]))

    def _check_formats(self) -> None:
        for key, item in self.stored.items():
            if key.endswith(COMFY_NOTE):
                try:
                    form = json.loads(bytes(self.whole(item).tolist()))["format"]
                except (ValueError, KeyError, TypeError):
                    form = "unreadable"
                if form not in FORMATS:
                    raise Refused(f"{self.path}: {key} is of the quantised format {form!r}; read: {', '.join(FORMATS)}")

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        for handle in self._files.values():
            handle.close()


def open_source(path: Path, *, mapped: bool = False) -> Source:
    """Open a checkpoint of any supported form."""
    return Source(path, mapped=mapped)


def read_source_header(path: Path) -> Header:
    """Return the header of a checkpoint as `open_source` shows it."""
    with open_source(path) as source:
        return source.header


def _seen(slot: Slot, flat: bool) -> TensorInfo:
    """Return what the header shows of a tensor: where it lies only counts if it is plain."""
    first, shape = slot.parts[0].info, slot.parts[0].info.shape
    if len(slot.parts) > 1:
        shape = (sum(part.info.shape[0] for part in slot.parts), *shape[1:])
    if slot.turned:
        shape = shape[::-1]
    if flat and len(shape) == 2:
        shape = (*shape, 1, 1)
    if slot.scale:
        return replace(first, dtype="F32", shape=shape, scaled=True)
    return replace(first, shape=shape)
