"""For which family an adapter was made, and what in it fits nowhere: told from names and shapes alone."""

import math
from collections.abc import Iterator, Mapping

import torch

from enogu.core.networks.header import Header
from enogu.core.networks.layouts import layouts
from enogu.core.records.errors import Refused
from enogu.merge.adapters.decode import decode
from enogu.merge.adapters.modules import Modules, gather
from enogu.merge.adapters.names import Names, Shapes, names

BIASES = frozenset({"bias", "up_bias"})
SIZES = frozenset({"magnitude", "row_magnitude"})


def measure(module: str, parts: Mapping[str, str], header: Header) -> tuple[int, int] | None:
    """Return the rows and columns that a module changes, from shapes alone; None if it changes no weight."""
    shapes = {part: header.tensors[key].shape for part, key in parts.items() if part != "alpha"}
    change = decode(module, {part: torch.empty(shape, device="meta") for part, shape in shapes.items()}, None)
    return None if change is None else change.shape


def of_weight(parts: Mapping[str, str]) -> dict[str, str]:
    """Return the parts of a module that make the change of its weight."""
    return {part: key for part, key in parts.items() if part not in BIASES | SIZES}


def guess(header: Header) -> Shapes:
    """Return the shapes of the family that an adapter was made for, or refuse."""
    best, fitting = family(header)
    if not fitting:
        found = gather(header.tensors)
        raise Refused(f"cannot tell what the adapter was made for; {misfit(found, header, list(found.parts))}")
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
        return measure(module, of_weight(parts), header)
    except Refused:  # a damaged module fits nowhere
        return None


def damages(header: Header) -> Iterator[str]:
    """Yield what is wrong with modules whose parts do not fit together."""
    for module, parts in gather(header.tensors).parts.items():
        try:
            measure(module, of_weight(parts), header)
        except Refused as problem:
            yield str(problem)


def likely(header: Header, before: str = "", behind: str = "") -> str:
    """Return words about the family that an adapter would fit, if it fits any."""
    best, fitting = family(header)
    told = f"{fitting} of its {len(gather(header.tensors).parts)} modules would fit {best}"
    return f"{before}{told}{behind}" if fitting else ""


def misfit(found: Modules, header: Header, unknown: list[str]) -> str:
    """Return why a file is refused."""
    if not found.parts:
        kinds = ", ".join(f"{count} tensors of {kind}" for kind, count in found.unread.items())
        return f"it holds nothing that enogu reads ({kinds})"
    reason = likely(header) or "it was made for a family that enogu does not know"
    return f"{len(unknown)} of {len(found.parts)} modules, such as {unknown[0]}, have no place in the model; {reason}"
