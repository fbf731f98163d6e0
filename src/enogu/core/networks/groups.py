"""Named groups of tensors in one safetensors file: the state of a run, written and replaced as a whole."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from enogu.core.networks.header import Spec
from enogu.core.networks.stream import Reader, as_bytes, open_writer

NOTE = "enogu.note"


def save_groups(path: Path, groups: Mapping[str, Mapping[str, Tensor]], note: Mapping[str, Any]) -> None:
    """Write groups of tensors as GROUP/NAME and a note of plain values, atomically."""
    tensors = {
        f"{group}/{name}": value.detach().cpu().contiguous()
        for group, named in groups.items()
        for name, value in named.items()
    }
    specs = {name: Spec(value.dtype, tuple(value.shape)) for name, value in tensors.items()}
    with open_writer(path, specs, {NOTE: json.dumps(dict(note))}) as writer:
        for name in writer.infos:
            writer.write(name, as_bytes(tensors[name]))


def load_groups(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read what `save_groups` wrote."""
    groups: dict[str, dict[str, Tensor]] = {}
    with Reader(path) as reader:
        for key in reader.header.tensors:
            group, _, name = key.partition("/")
            groups.setdefault(group, {})[name] = reader.tensor(key)
        return groups, json.loads(reader.header.metadata[NOTE])
