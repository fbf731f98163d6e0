"""Which module of an adapter file belongs to which tensor, decided from headers; what fits nowhere is named."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from enogu.core.networks.header import Header
from enogu.core.networks.layouts import layouts
from enogu.core.networks.stream import Reader
from enogu.core.records.errors import Refused
from enogu.merge.adapters.decode import decode
from enogu.merge.adapters.modules import Modules, gather
from enogu.merge.adapters.names import Names, Shapes, Site, names

BIASES = frozenset({"bias", "up_bias"})
SCALED = {"alpha", "diff", "k1", "k2"}  # parts beside which no alpha is missed
SHOWN = 3  # names that a message gives
PEFT_SETTINGS = "lora_adapter_metadata"  # diffusers' name for PEFT's configuration in the header
PEFT_FILE = "adapter_config.json"  # PEFT's own, beside the weights


@dataclass(frozen=True)
class Bound:
    """The part of a module that changes one tensor: a weight or a bias, or the rows of one that are its own."""

    name: str
    site: Site
    key: str
    parts: tuple[tuple[str, str], ...]  # part and key in the file
    size: tuple[int, int]
    alpha: float | None
    magnitude: str = ""  # the key of DoRA's sizes
    by_row: bool = True

    @property
    def rows(self) -> int:
        """Return how many rows of the tensor are changed."""
        return self.site.shape[0] if not self.site.transposed else self.site.shape[1]

    @property
    def sizes_rows(self) -> bool:
        """Return whether DoRA's sizes are those of the tensor's rows, as it is stored."""
        return self.by_row != self.site.transposed

    @property
    def stored(self) -> str:
        """Return the key of a change that is stored as it is, if it is one."""
        return self.parts[0][1] if len(self.parts) == 1 else ""


@dataclass(frozen=True)
class Coverage:
    """What became of an adapter file: modules that found their place, names that did not, keys that are not read."""

    modules: int
    unknown: tuple[str, ...]
    unread: Mapping[str, int]
    other: tuple[str, ...]
    unscaled: int = 0  # modules of two factors without an alpha

    def notes(self) -> Iterator[str]:
        """Yield what a maker should know."""
        if self.unknown:
            every, shown = self.modules + len(self.unknown), ", ".join(self.unknown[:SHOWN])
            yield f"{len(self.unknown)} of {every} modules have no place in the model: {shown}"
        for kind, count in self.unread.items():
            yield f"{count} tensors of {kind} are not read"
        if self.unscaled:
            yield f"{self.unscaled} modules have no alpha; it is taken for their rank (scale 1)"
        if self.other:
            yield f"{len(self.other)} tensors are of no known kind, for example {self.other[0]}"


def bind(file: Reader, shapes: Shapes) -> tuple[list[Bound], Coverage]:
    """Find the place of every module, or refuse the file with the likely reason."""
    try:
        return _bound(file, shapes)
    except Refused as problem:
        raise Refused(f"{file.path}: {problem}") from None


def _bound(file: Reader, shapes: Shapes) -> tuple[list[Bound], Coverage]:
    found = gather(file.header.tensors)
    places, settings = names(shapes), _settings(file)
    bound, unknown = [], []
    for module, parts in found.parts.items():
        site = places.find(module)
        if site is None:
            unknown.append(module)
            continue
        weight = list(_weight(module, parts, site, header=file.header, settings=settings))
        bias = list(_bias(module, parts, site, shapes=shapes, header=file.header))
        bound += [*weight, *bias]
        unknown += [] if weight or bias else [module]
        unknown += [f"the bias of {module}"] if not bias and parts.keys() & BIASES else []
    if not bound or len(unknown) > len(bound):
        raise Refused(_misfit(found, file.header, unknown))
    unscaled = sum(module.alpha is None and not SCALED & {part for part, _ in module.parts} for module in bound)
    return bound, Coverage(len(bound), tuple(unknown), found.unread, found.other, unscaled)


def _weight(
    module: str, parts: Mapping[str, str], site: Site, *, header: Header, settings: Mapping[str, Any]
) -> Iterator[Bound]:
    kept = _of_weight(parts)
    size = measure(module, kept, header)
    if size is None:
        return
    if "alpha" in parts and header.tensors[parts["alpha"]].numel != 1:
        raise Refused(f"{module}: its alpha has the shape {list(header.tensors[parts['alpha']].shape)}, not one number")
    if (size[0], math.prod(size)) != (site.shape[0], math.prod(site.shape)):
        raise Refused(
            f"{module} changes a weight of {size[0]:,} × {size[1]:,}, but {site.weight} is {list(site.shape)} here: "
            f"the file is damaged, or was made for another family{_family(header, ' (', ')')}"
        )
    magnitude = parts.get("magnitude") or parts.get("row_magnitude") or ""
    by_row = "row_magnitude" in parts or not magnitude or header.tensors[magnitude].shape[:1] == site.shape[:1]
    if magnitude and header.tensors[magnitude].numel != site.shape[0 if by_row else 1]:
        told = f"{list(header.tensors[magnitude].shape)} beside a weight of {list(site.shape)}"
        raise Refused(f"{module}: DoRA's sizes are {told}; there must be one per output or per input channel")
    alone = tuple(kept.items()) if "diff" not in parts else (("diff", parts["diff"]),)
    yield Bound(module, site, site.weight, alone, size, _alpha(module, settings), magnitude, by_row)


def _of_weight(parts: Mapping[str, str]) -> dict[str, str]:
    return {part: key for part, key in parts.items() if part not in {"magnitude", "row_magnitude", *BIASES}}


def _bias(module: str, parts: Mapping[str, str], site: Site, *, shapes: Shapes, header: Header) -> Iterator[Bound]:
    if "bias" in parts and site.bias in shapes:
        if (count := header.tensors[parts["bias"]].numel) != site.shape[0]:
            raise Refused(
                f"{module} changes a bias of {count:,} elements where {site.shape[0]:,} are: the file is damaged"
            )
        yield Bound(module, site, site.bias, (("diff", parts["bias"]),), (site.shape[0], 1), None)


def measure(module: str, parts: Mapping[str, str], header: Header) -> tuple[int, int] | None:
    """Return the rows and columns that a module changes, from shapes alone; None if it changes no weight."""
    shapes = {part: header.tensors[key].shape for part, key in parts.items() if part != "alpha"}
    change = decode(module, {part: torch.empty(shape, device="meta") for part, shape in shapes.items()}, None)
    return None if change is None else change.shape


def guess(header: Header) -> Shapes:
    """Return the shapes of the family that an adapter was made for, or refuse."""
    best, fitting = family(header)
    if not fitting:
        found = gather(header.tensors)
        raise Refused(f"cannot tell what the adapter was made for; {_misfit(found, header, list(found.parts))}")
    return layouts()[best].shapes


def family(header: Header) -> tuple[str, int]:
    """Return the layout that most of an adapter's modules fit by name and shape, and how many do."""
    found = gather(header.tensors)
    scores = {name: _agreement(found, header, names(item.shapes)) for name, item in layouts().items()}
    best = max(scores, key=lambda name: scores[name])
    return best, scores[best]


def _agreement(found: Modules, header: Header, places: Names) -> int:
    sizes = {module: size for module in found.parts if (size := _size(module, found.parts[module], header))}
    sites = {module: places.find(module) for module in sizes}
    return sum(
        (size[0], math.prod(size)) == (site.shape[0], math.prod(site.shape))
        for module, size in sizes.items()
        if (site := sites[module])
    )


def _size(module: str, parts: Mapping[str, str], header: Header) -> tuple[int, int] | None:
    try:
        return measure(module, _of_weight(parts), header)
    except Refused:  # a damaged module fits nowhere
        return None


def damages(header: Header) -> Iterator[str]:
    """Yield what is wrong with modules whose parts do not fit together."""
    for module, parts in gather(header.tensors).parts.items():
        try:
            measure(module, _of_weight(parts), header)
        except Refused as problem:
            yield str(problem)


def _family(header: Header, before: str = "", behind: str = "") -> str:
    best, fitting = family(header)
    told = f"{fitting} of its {len(gather(header.tensors).parts)} modules would fit {best}"
    return f"{before}{told}{behind}" if fitting else ""


def _misfit(found: Modules, header: Header, unknown: list[str]) -> str:
    if not found.parts:
        kinds = ", ".join(f"{count} tensors of {kind}" for kind, count in found.unread.items())
        return f"it holds nothing that enogu reads ({kinds})"
    reason = _family(header) or "it was made for a family that enogu does not know"
    return f"{len(unknown)} of {len(found.parts)} modules, such as {unknown[0]}, have no place in the model; {reason}"


def _settings(file: Reader) -> Mapping[str, Any]:
    """Return PEFT's settings as diffusers writes them into the header, or from the file that PEFT leaves beside it."""
    if PEFT_SETTINGS in file.header.metadata:
        return _decoded(file.header.metadata[PEFT_SETTINGS])
    beside = file.path.parent / PEFT_FILE
    if not beside.exists():
        return {}
    found = _decoded(beside.read_text(encoding="utf-8", errors="replace"))
    return {f"base_model.{name}": value for name, value in found.items()}


def _decoded(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _alpha(module: str, settings: Mapping[str, Any]) -> float | None:
    """Return PEFT's alpha; with rank-stabilised scaling the one that gives the same scale over the rank.

    Kalajdzievski 2023, arXiv 2312.03732.
    """
    component, _, inner = module.partition(".")
    alpha = settings.get(f"{component}.lora_alpha")
    if not isinstance(alpha, int | float):
        return None
    inner = inner.removeprefix("model.")
    patterns, ranks = settings.get(f"{component}.alpha_pattern") or {}, settings.get(f"{component}.rank_pattern") or {}
    alpha = float(patterns.get(inner, alpha))
    rank = float(ranks.get(inner, settings.get(f"{component}.r", 0)))
    return alpha * math.sqrt(rank) if settings.get(f"{component}.use_rslora") and rank else alpha
