"""Tensors set aside in a file without a name until all are known; a killed process leaves nothing of it."""

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from enogu.core.networks.header import Spec
from enogu.core.networks.stream import as_bytes


class Spool:
    """Tensors by name, in the order in which they came."""

    def __init__(self, folder: Path) -> None:
        """Open the file on the disk of a folder."""
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed on exit
        self._starts: dict[str, int] = {}
        self.specs: dict[str, Spec] = {}

    def add(self, name: str, tensor: Tensor) -> None:
        """Set a tensor aside."""
        self._starts[name] = self._file.tell()
        self.specs[name] = Spec(tensor.dtype, tuple(tensor.shape))
        self._file.write(as_bytes(tensor.contiguous()))

    def read(self, name: str) -> memoryview:
        """Return the bytes of a tensor."""
        spec = self.specs[name]
        values = torch.empty(spec.shape, dtype=spec.dtype)
        buffer = as_bytes(values)
        self._file.flush()
        if os.preadv(self._file.fileno(), [buffer], self._starts[name]) != len(buffer):
            raise OSError("the disk lost what was set aside")
        return buffer

    def __enter__(self) -> Self:
        """Return the open spool."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Let go of the file."""
        self._file.close()
