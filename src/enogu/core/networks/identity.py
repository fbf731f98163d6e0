"""The hashes by which a checkpoint is known: of the file, of its tensors, of each component."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from enogu.core.networks.header import open_read, read_header
from enogu.core.networks.keys import place
from enogu.core.networks.layouts import PREFIXES
from enogu.core.records.progress import Progress, silent

CHUNK_BYTES = 1 << 22
SMALL = 1 << 16  # bytes that are hashed sooner than handed to another thread
AUTO_V1 = (0x100000, 0x10000)  # the webui's first hash: 64 KiB at 1 MiB


@dataclass(frozen=True)
class Identity:
    """SHA-256 of the whole file, of the tensor bytes alone, and of each component's tensors by name."""

    sha256: str
    data_sha256: str
    auto_v1: str
    components: Mapping[str, str]

    @property
    def auto_v2(self) -> str:
        """Return the webui's "Model hash"."""
        return self.sha256[:10]

    @property
    def auto_v3(self) -> str:
        """Return the hash that ignores the header, as the webui shows it."""
        return self.data_sha256[:12]


def auto_v1(path: Path) -> str:
    """Return the webui's legacy hash: quick, and not unique."""
    offset, length = AUTO_V1
    with open_read(path) as handle:
        handle.seek(offset)
        return hashlib.sha256(handle.read(length)).hexdigest()[:8]


def identify(path: Path, progress: Progress = silent) -> Identity:
    """Hash a safetensors file in one sequential read.

    A component's hash depends on its tensors' names within it, dtypes, shapes and bytes, not on their order or on
    what else is in the file: two checkpoints with the same VAE show the same hash for it.
    """
    header = read_header(path)
    state = _Hashes()
    ordered = sorted(header.tensors.items(), key=lambda item: (item[1].start, item[1].end))
    total = header.data_start + (ordered[-1][1].end if ordered else 0)
    with open_read(path) as handle, ThreadPoolExecutor(2) as pool:
        state.whole.update(handle.read(header.data_start))
        for name, info in ordered:
            one, left = hashlib.sha256(f"{info.dtype}{list(info.shape)}".encode()), info.nbytes
            while left:
                chunk = handle.read(min(CHUNK_BYTES, left))
                left -= len(chunk)
                beside = [pool.submit(each.update, chunk) for each in (state.whole, state.data) if len(chunk) > SMALL]
                for each in (one,) if beside else (one, state.whole, state.data):
                    each.update(chunk)
                for waiting in beside:
                    waiting.result()
            state.tensors.setdefault(place(name).component, {})[_within(name)] = one.hexdigest()
            progress(header.data_start + info.end, total, "bytes")
    return Identity(state.whole.hexdigest(), state.data.hexdigest(), auto_v1(path), state.components())


@dataclass
class _Hashes:
    whole: Any = field(default_factory=hashlib.sha256)
    data: Any = field(default_factory=hashlib.sha256)
    tensors: dict[str, dict[str, str]] = field(default_factory=dict)

    def components(self) -> dict[str, str]:
        """Return a hash per component, whatever the order of its tensors."""
        return {
            name: hashlib.sha256("".join(f"{k}={v};" for k, v in sorted(parts.items())).encode()).hexdigest()
            for name, parts in self.tensors.items()
        }


def _within(key: str) -> str:
    """Return a key without what says where the component sits, so that SD1's CLIP and SDXL's first one agree."""
    for prefix in (*PREFIXES.values(), *TEXT_PREFIXES):
        if key.startswith(prefix):
            return key.removeprefix(prefix)
    return key


TEXT_PREFIXES = (
    "cond_stage_model.transformer.text_model.",
    "conditioner.embedders.0.transformer.text_model.",
    "conditioner.embedders.0.model.",
    "conditioner.embedders.1.model.",
    "cond_stage_model.model.",
)
