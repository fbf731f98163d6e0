"""A merge before it is run: what becomes of every tensor, what to beware of, what it will cost."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from enogu.core.networks.folder import files_of
from enogu.core.networks.header import Header, Spec, layout
from enogu.core.networks.layouts import layouts
from enogu.merge.adapters.adapter import AdapterHeader
from enogu.merge.config import MergeConfig
from enogu.merge.costs import Costs, costs, peak_bytes
from enogu.merge.hits import hits, lines
from enogu.merge.inputs import read_headers
from enogu.merge.plan import Plan, make_plan
from enogu.merge.report import key_lines, rows, summary, text
from enogu.merge.stage import planned


@dataclass(frozen=True)
class Preview:
    """A plan and its costs, which are not known where no model is there to be timed."""

    plan: Plan
    costs: Costs | None
    memory: int  # bytes at most
    note: str = ""

    @property
    def seconds(self) -> float | None:
        """Return how long the merge will take, where that can be told."""
        return self.costs.seconds if self.costs else None

    def told(self) -> dict[str, Any]:
        """Return everything for programs, tensor by tensor."""
        cost = self.costs.told() if self.costs else {"write_bytes": self.plan.out_bytes, "peak_bytes": self.memory}
        return {
            **summary(self.plan),
            **({"note": self.note} if self.note else {}),
            "costs": cost,
            "block_weights": [asdict(hit) for hit in hits(self.plan)],
            "keys": rows(self.plan),
        }

    def lines(self, *, keys: bool) -> Iterator[str]:
        """Yield what people read, with a line per tensor if asked for."""
        yield from text(self.plan).splitlines()
        yield from lines(self.plan)
        yield from key_lines(self.plan) if keys else ()
        yield from [f"note: {self.note}"] if self.note else []
        yield self.costs.text() if self.costs else f"at most {self.memory / 2**20:,.0f} MiB of memory"


def preview(config: MergeConfig, files: Mapping[str, Path], out: Path | None, *, threads: int) -> Preview:
    """Return what a merge of files will do, from headers and a few tensors."""
    plan, _ = planned(config, files)
    return Preview(plan, costs(plan, files, out, threads=threads), peak_bytes(plan, threads))


def preview_in_recipe(
    config: MergeConfig, models: Mapping[str, Path], *, family: str, folder: Path, threads: int
) -> Preview | None:
    """Return the same of a recipe's merge that writes beneath a folder, or nothing where no header tells."""
    out = folder / "model.safetensors" if os.access(folder, os.W_OK) else None
    missing = [name for name, path in models.items() if not path.exists()]
    if not missing:
        return preview(config, models, out, threads=threads)
    foreseen = _foreseen(config, models, family)
    if foreseen is None:
        return None
    plan, like = foreseen
    cost = None
    if like:  # its file stands in for those that are missing, too
        files = {name: models[like] if name in missing else path for name, path in models.items()}
        read = sum(path.stat().st_size for name in plan.sources for path in files_of(files[name]))
        cost = replace(costs(plan, files, out, threads=threads), read_bytes=read)
    taken = f"{', '.join(missing)}: not made yet, taken to be like {like or f'any {family} in fp32'}"
    note = f"{taken}; how like the weights of the models are is told when all are there"
    return Preview(plan, cost, peak_bytes(plan, threads), note)


def foresee(config: MergeConfig, models: Mapping[str, Path], *, family: str) -> None:
    """Refuse by headers what `merge` would."""
    _foreseen(config, models, family)


def _foreseen(config: MergeConfig, models: Mapping[str, Path], family: str) -> tuple[Plan, str] | None:
    """Return a plan, and the name of the model that those not made yet stand for: nothing if it is a bare layout."""
    headers = read_headers({name: path for name, path in models.items() if path.exists()})
    like = next((name for name, header in headers.items() if not isinstance(header, AdapterHeader)), "")
    if not like and family not in layouts():
        return None
    stands = headers[like] if like else _bare(family)
    return make_plan(config, {name: headers.get(name, stands) for name in models}), like


def _bare(family: str) -> Header:
    return Header(layout({key: Spec(torch.float32, shape) for key, shape in layouts()[family].shapes.items()}), {}, 0)
