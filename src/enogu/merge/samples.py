"""A few tensors of each model of a merge, read before it for what headers cannot tell."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from torch import Tensor

from enogu.core.networks.keys import TEXT_ENCODERS, place, why_fixed
from enogu.core.networks.source import open_source
from enogu.core.networks.stream import Reader
from enogu.merge.plan import Plan

TENSORS = 8  # looked at per component
ELEMENTS = 1 << 14  # looked at per tensor
COMPONENTS = ("unet", *TEXT_ENCODERS, "vae")

Samples = Mapping[str, Mapping[str, Mapping[str, Tensor]]]  # component -> model -> key -> elements


def read_samples(plan: Plan, files: Mapping[str, Path]) -> Samples:
    """Read the same stretches of a component's weights from every model that has it; adapters are left out."""
    with ExitStack() as stack:
        readers = {name: stack.enter_context(open_source(files[name])) for name in plan.models}
        return {part: _sample(part, readers) for part in COMPONENTS}


def _sample(part: str, readers: Mapping[str, Reader]) -> dict[str, dict[str, Tensor]]:
    holders = {
        name: reader
        for name, reader in readers.items()
        if any(place(key).component == part for key in reader.header.tensors)
    }
    tables = [reader.header.tensors for reader in holders.values()]
    shared = [
        key
        for key, info in (tables[0].items() if tables else ())
        if place(key).component == part
        and len(info.shape) > 1
        and not why_fixed(key, info)
        and all(key in table and table[key].shape == info.shape for table in tables)
    ]
    chosen = sorted(shared)[:: max(1, len(shared) // TENSORS)][:TENSORS]
    counts = {key: min(ELEMENTS, tables[0][key].numel) for key in chosen}
    rows = {name: {key: reader.stretch(key, 0, counts[key]) for key in counts} for name, reader in holders.items()}
    return rows if chosen else {}
