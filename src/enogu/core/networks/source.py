"""A checkpoint opened for reading: canonical keys, and 8-bit weights already times their scales."""

from dataclasses import replace
from pathlib import Path

import torch

from enogu.core.networks.fp8 import MARKER, QUANTIZATION, SIDE, scale_key, widen
from enogu.core.networks.header import Header
from enogu.core.networks.naming import renamed
from enogu.core.networks.stream import Reader

NARROW = ("F8_E4M3", "F8_E5M2")


class Source(Reader):
    """A reader whose header shows the tensors as the rest of the program means them."""

    def __init__(self, path: Path) -> None:
        """Open the file; scales vanish from the header and their weights show as float32."""
        super().__init__(path)
        self._stored = self.header
        self._names = renamed(self._stored.tensors)
        self.header = self._seen()

    def _seen(self) -> Header:
        stored, tensors = self._stored.tensors, {}
        for name, key in self._names.items():
            scaled = stored[key].dtype in NARROW and scale_key(key, stored)
            if not (key.endswith(SIDE) or key == MARKER):
                tensors[name] = replace(stored[key], dtype="F32") if scaled else stored[key]
        metadata = {key: text for key, text in self._stored.metadata.items() if key != QUANTIZATION}
        return Header(tensors, metadata, self._stored.data_start)

    def read_into(self, name: str, buffer: memoryview, *, offset: int = 0) -> None:
        """Fill a buffer from the stored bytes of a tensor."""
        position = self._stored.data_start + self._stored.tensors[self._names.get(name, name)].start
        self.read_at(position + offset, buffer, what=name)

    def stretch(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Read elements [start, stop) of a tensor, flat; scaled ones as float32."""
        key = self._names[name]
        info = self._stored.tensors[key]
        values = self.raw(key, info.torch_dtype, start, count=stop - start)
        scale = scale_key(key, self._stored.tensors) if info.dtype in NARROW else ""
        if not scale:
            return values
        side = self._stored.tensors[scale]
        factor = self.raw(scale, side.torch_dtype, 0, count=side.numel)
        return widen(values, factor, start, shape=info.shape)


def open_source(path: Path) -> Source:
    """Open a checkpoint of any supported form."""
    return Source(path)


def read_source_header(path: Path) -> Header:
    """Return the header of a checkpoint as `open_source` shows it."""
    with open_source(path) as source:
        return source.header
