"""The files of a merge, opened: checkpoints, and adapters bound to the checkpoints that they go with."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from enogu.core.networks.header import Header
from enogu.core.networks.source import open_source
from enogu.core.networks.stream import Reader
from enogu.core.records.errors import Refused
from enogu.merge.adapters.adapter import Adapter
from enogu.merge.adapters.fitting import guess
from enogu.merge.adapters.modules import is_adapter

Input = Reader | Adapter


@contextmanager
def open_inputs(files: Mapping[str, Path], *, dtype: torch.dtype = torch.float32) -> Iterator[Mapping[str, Input]]:
    """Open files by the names of their models; an adapter shows its differences, computed in `dtype`."""
    with ExitStack() as stack:
        readers: dict[str, Input] = {name: stack.enter_context(open_source(path)) for name, path in files.items()}
        adapters = [name for name, reader in readers.items() if is_adapter(reader.header.tensors)]
        shapes: Mapping[str, tuple[int, ...]] = {
            key: info.shape
            for name, reader in readers.items()
            if name not in adapters
            for key, info in reader.header.tensors.items()
        }
        for name in adapters:
            file = readers[name]
            assert isinstance(file, Reader)
            shapes = shapes or _alone(file)
            readers[name] = Adapter(file, shapes, dtype=dtype)
        yield readers


def read_headers(files: Mapping[str, Path]) -> dict[str, Header]:
    """Return the headers of files by the names of their models."""
    with open_inputs(files) as readers:
        return {name: reader.header for name, reader in readers.items()}


def _alone(file: Reader) -> Mapping[str, tuple[int, ...]]:
    try:
        return guess(file.header)
    except Refused as refusal:
        raise Refused(f"{file.path}: {refusal}") from None
