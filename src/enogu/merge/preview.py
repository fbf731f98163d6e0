"""A merge before it is run: what becomes of every tensor, what to beware of, what it will cost."""

import os
from collections.abc import Iterator, Mapping, Sequence
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
    sample: Path | None  # a model's file, which stands in for one that is not made yet when times are taken
    note: str = ""

    @property
    def header(self) -> Header:
        """Return the header that the result will have, without its metadata."""
        return Header(layout({key: item.spec for key, item in self.plan.kept.items()}), {}, 0)

    @property
    def seconds(self) -> float | None:
        """Return how long the merge will take, where that can be told."""
        return self.costs.seconds if self.costs else None

    def lacking(self) -> Iterator[str]:
        """Yield a warning where the disk has no room for the result."""
        if self.costs and self.costs.free_bytes < self.plan.out_bytes:
            free, wanted = (f"{count / 2**20:,.0f} MiB" for count in (self.costs.free_bytes, self.plan.out_bytes))
            yield f"the result takes {wanted}, and the disk has room for {free}"

    def told(self) -> dict[str, Any]:
        """Return everything for programs, tensor by tensor."""
        cost = self.costs.told() if self.costs else {"write_bytes": self.plan.out_bytes, "peak_bytes": self.memory}
        known = summary(self.plan)
        return {
            **known,
            "warnings": [*known["warnings"], *self.lacking()],
            **({"note": self.note} if self.note else {}),
            "costs": cost,
            "block_weights": [asdict(hit) for hit in hits(self.plan)],
            "keys": rows(self.plan),
        }

    def lines(self, *, keys: bool) -> Iterator[str]:
        """Yield what people read, with a line per tensor if asked for."""
        yield from text(self.plan).splitlines()
        yield from (f"warning: {line}" for line in self.lacking())
        yield from lines(self.plan)
        yield from key_lines(self.plan) if keys else ()
        yield from [f"note: {self.note}"] if self.note else []
        yield self.costs.text() if self.costs else f"at most {self.memory / 2**20:,.0f} MiB of memory"


def preview(config: MergeConfig, files: Mapping[str, Path], out: Path | None, *, threads: int) -> Preview:
    """Return what a merge of files will do, from headers and a few tensors."""
    plan, _ = planned(config, files)
    cost = costs(plan, files, out, threads=threads)
    return Preview(plan, cost, peak_bytes(plan, threads), files[plan.models[0]])


def preview_in_recipe(
    config: MergeConfig,
    models: Mapping[str, Path],
    *,
    family: str,
    folder: Path,
    threads: int,
    seen: Mapping[str, Preview],
) -> Preview | None:
    """Return the same of a recipe's merge that writes beneath a folder, or nothing where no header tells.

    `seen` are the previews of the models that are merges to come.
    """
    out = folder / "model.safetensors" if os.access(folder, os.W_OK) else None
    missing = [name for name, path in models.items() if not path.exists()]
    if not missing:
        return preview(config, models, out, threads=threads)
    known = {name: each.header for name, each in seen.items() if name in missing}
    foreseen = _foreseen(config, models, family, known=known)
    if foreseen is None:
        return None
    plan, like = foreseen
    samples = [models[like]] if like and like not in missing else [each.sample for each in seen.values() if each.sample]
    cost = None
    if samples and _holds(samples[0], plan):
        files = {name: samples[0] if name in missing else path for name, path in models.items()}
        sizes = {name: sum(file.stat().st_size for file in files_of(path)) for name, path in files.items()}
        sizes |= {name: each.plan.out_bytes for name, each in seen.items() if name in missing}
        cost = replace(costs(plan, files, out, threads=threads), read_bytes=sum(sizes[name] for name in plan.sources))
    note = _unmade(missing, seen, like or f"any {family} in fp32")
    return Preview(plan, cost, peak_bytes(plan, threads), samples[0] if samples else None, note)


def _holds(sample: Path, plan: Plan) -> bool:
    """Return whether a file has every tensor that is computed, so that times can be taken from it."""
    tensors = read_headers({"": sample})[""].tensors
    return all(item.key in tensors for item in plan.kept.values() if item.action == "merged")


def _unmade(missing: Sequence[str], seen: Mapping[str, Preview], like: str) -> str:
    unseen = [name for name in missing if name not in seen]
    merges = [name for name in missing if name in seen]
    told = [f"{', '.join(merges)}: not made yet, known from the plan above"] if merges else []
    told += [f"{', '.join(unseen)}: not made yet, taken to be like {like}"] if unseen else []
    return "; ".join([*told, "how like the weights of the models are is told when all are there"])


def foresee(config: MergeConfig, models: Mapping[str, Path], *, family: str) -> None:
    """Refuse by headers what `merge` would."""
    _foreseen(config, models, family, known={})


def _foreseen(
    config: MergeConfig, models: Mapping[str, Path], family: str, *, known: Mapping[str, Header]
) -> tuple[Plan, str] | None:
    """Return a plan, and the model that stands for those of which nothing is known: no name if it is a bare layout."""
    headers = {**known, **read_headers({name: path for name, path in models.items() if path.exists()})}
    like = next((name for name in models if name in headers and not isinstance(headers[name], AdapterHeader)), "")
    if not like and family not in layouts():
        return None
    stands = headers[like] if like else _bare(family)
    return make_plan(config, {name: headers.get(name, stands) for name in models}), like


def _bare(family: str) -> Header:
    return Header(layout({key: Spec(torch.float32, shape) for key, shape in layouts()[family].shapes.items()}), {}, 0)
