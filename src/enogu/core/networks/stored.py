"""Where the tensors of a checkpoint lie, whatever the form of the file."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from enogu.core.networks.header import TensorInfo, read_header


@dataclass(frozen=True)
class Stored:
    """A tensor in a file; `info` counts bytes from the file's begin, `strides` tell of elements out of order."""

    file: Path
    info: TensorInfo
    strides: tuple[int, ...] = ()


@dataclass(frozen=True)
class Contents:
    """Everything that a checkpoint holds, under the names that it uses itself."""

    tensors: Mapping[str, Stored]
    metadata: Mapping[str, str]


def read_safetensors(path: Path) -> Contents:
    """Read what a safetensors file holds, or refuse it."""
    header = read_header(path)
    begin = header.data_start
    infos = {key: replace(info, start=begin + info.start, end=begin + info.end) for key, info in header.tensors.items()}
    return Contents({key: Stored(path, info) for key, info in infos.items()}, header.metadata)
