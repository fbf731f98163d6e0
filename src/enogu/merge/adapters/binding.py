"""Which module of an adapter file belongs to which tensor, decided from headers; what fits nowhere is named."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from enogu.core.networks.header import Header
from enogu.core.networks.stream import Reader
from enogu.core.records.errors import Refused
from enogu.merge.adapters import peft
from enogu.merge.adapters.fitting import BIASES, likely, measure, misfit, of_weight
from enogu.merge.adapters.modules import gather
from enogu.merge.adapters.names import Shapes, Site, names

SCALED = {"alpha", "diff", "k1", "k2"}  # parts beside which no alpha is missed
SHOWN = 3  # names that a message gives


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
    places, settings = names(shapes), peft.settings(file)
    bound, unknown = [], []
    for module, parts in found.parts.items():
        site = places.find(module)
        if site is None:
            unknown.append(module)
            continue
        weight = list(_weight(module, parts, site, header=file.header, settings=settings))
        bias = list(_bias(module, parts, site, shapes=shapes, header=file.header))
        bound += [*weight, *bias]
        if not weight and not bias:
            unknown.append(module)
        elif not bias and parts.keys() & BIASES:
            unknown.append(f"the bias of {module}")
    if not bound or len(unknown) > len(bound):
        raise Refused(misfit(found, file.header, unknown))
    unscaled = sum(module.alpha is None and not SCALED & {part for part, _ in module.parts} for module in bound)
    return bound, Coverage(len(bound), tuple(unknown), found.unread, found.other, unscaled)


def _weight(
    module: str, parts: Mapping[str, str], site: Site, *, header: Header, settings: Mapping[str, Any]
) -> Iterator[Bound]:
    kept = of_weight(parts)
    size = measure(module, kept, header)
    if size is None:
        return
    if "alpha" in parts and header.tensors[parts["alpha"]].numel != 1:
        raise Refused(f"{module}: its alpha has the shape {list(header.tensors[parts['alpha']].shape)}, not one number")
    if (size[0], math.prod(size)) != (site.shape[0], math.prod(site.shape)):
        raise Refused(
            f"{module} changes a weight of {size[0]:,} × {size[1]:,}, but {site.weight} is {list(site.shape)} here: "
            f"the file is damaged, or was made for another family{likely(header, ' (', ')')}"
        )
    magnitude = parts.get("magnitude") or parts.get("row_magnitude") or ""
    by_row = "row_magnitude" in parts or not magnitude or header.tensors[magnitude].shape[:1] == site.shape[:1]
    if magnitude and header.tensors[magnitude].numel != site.shape[0 if by_row else 1]:
        told = f"{list(header.tensors[magnitude].shape)} beside a weight of {list(site.shape)}"
        raise Refused(f"{module}: DoRA's sizes are {told}; there must be one per output or per input channel")
    alone = tuple(kept.items()) if "diff" not in parts else (("diff", parts["diff"]),)
    yield Bound(module, site, site.weight, alone, size, peft.alpha_of(module, settings), magnitude, by_row)


def _bias(module: str, parts: Mapping[str, str], site: Site, *, shapes: Shapes, header: Header) -> Iterator[Bound]:
    if "bias" in parts and site.bias in shapes:
        if (count := header.tensors[parts["bias"]].numel) != site.shape[0]:
            raise Refused(
                f"{module} changes a bias of {count:,} elements where {site.shape[0]:,} are: the file is damaged"
            )
        yield Bound(module, site, site.bias, (("diff", parts["bias"]),), (site.shape[0], 1), None)
