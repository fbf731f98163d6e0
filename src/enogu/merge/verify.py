"""Whether a merged file is what its recipe claims: chosen tensors are computed again from the parents."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from enogu.core.networks.header import read_header
from enogu.core.networks.identity import sha256_of
from enogu.core.networks.provenance import CONVERSION
from enogu.core.networks.stream import Reader
from enogu.core.records.errors import Refused
from enogu.core.records.progress import Progress, silent
from enogu.core.records.seed import generator
from enogu.merge.computation import PRECISION, Computation
from enogu.merge.config import MergeConfig
from enogu.merge.inputs import open_inputs, read_headers
from enogu.merge.lineage import RECIPE
from enogu.merge.plan import make_plan

SAMPLE = 64  # tensors computed again unless all are asked for


@dataclass(frozen=True)
class Verdict:
    """What was computed again, and what differs."""

    checked: int
    tensors: int
    wrong: tuple[str, ...]
    keys_differ: bool

    @property
    def holds(self) -> bool:
        """Return whether nothing contradicts the recipe."""
        return not self.wrong and not self.keys_differ


def verify(path: Path, parents: Sequence[Path], *, sample: int = SAMPLE, progress: Progress = silent) -> Verdict:
    """Recompute a sample of tensors (0: all) from parents, which are told apart by their hashes."""
    header = read_header(path)
    made = _recipe(path, header.metadata)
    files = _bind(made["models"], parents)
    known = {field.name for field in fields(MergeConfig)}
    config = MergeConfig(**{name: value for name, value in made.items() if name in known})
    plan = make_plan(config, read_headers(files))
    differ = {key: info.shape for key, info in header.tensors.items()} != {
        k: i.spec.shape for k, i in plan.kept.items()
    }
    shared = [
        key for key in plan.kept if key in header.tensors and header.tensors[key].shape == plan.kept[key].spec.shape
    ]
    chosen = shared if not sample else sorted(generator(0, "verify").permutation(shared)[:sample].tolist())
    with ExitStack() as stack:
        readers = stack.enter_context(open_inputs(files, dtype=PRECISION[config.precision]))
        own = stack.enter_context(Reader(path))
        computation, wrong = Computation(plan).surveyed(readers), []
        for done, key in enumerate(chosen):
            if not _same(own.tensor(key).reshape(-1), computation.tensor(key, readers)):
                wrong.append(key)
            progress(done + 1, len(chosen), "tensors")
    return Verdict(len(chosen), len(plan.kept), tuple(wrong), differ)


def _recipe(path: Path, metadata: Any) -> dict[str, Any]:
    try:
        made = json.loads(metadata[RECIPE])
        return {**made, "models": dict(made["models"])}
    except (KeyError, ValueError, TypeError):
        remedy = "it was converted: verify its source" if CONVERSION in metadata else "there is nothing to verify"
        raise Refused(f"{path}: its header holds no recipe of enogu ({RECIPE}); {remedy}") from None


def _bind(models: dict[str, Any], parents: Sequence[Path]) -> dict[str, Path]:
    hashes = {sha256_of(parent): parent for parent in parents}
    missing = {name: made["sha256"] for name, made in models.items() if made["sha256"] not in hashes}
    if missing:
        listed = ", ".join(f"{name} (sha256 {digest[:12]}...)" for name, digest in missing.items())
        raise Refused(f"among the given files are not: {listed}")
    return {name: hashes[made["sha256"]] for name, made in models.items()}


def _same(stored: torch.Tensor, parts: Iterator[torch.Tensor]) -> bool:
    position = 0
    for part in parts:
        own = stored[position : position + len(part)]
        position += len(part)
        if own.dtype != part.dtype or not torch.equal(own.view(torch.uint8), part.view(torch.uint8)):
            return False
    return position == len(stored)
