"""RAM+: RAM, with unique changes strengthened where a model shares much."""

from collections.abc import Sequence

import torch
from torch import Tensor

from enogu.merge.method import Delta, Deltas, Pieces, method
from enogu.merge.methods.ram import ACTIVE, merge_active
from enogu.merge.statistics import total


def _counts(deltas: Sequence[Tensor]) -> list[Tensor]:
    active = [(delta.abs() > ACTIVE).float() for delta in deltas]
    together = sum(active[1:], start=active[0])
    return [mask for each in active for mask in (each * (together == 1.0), each * (together > 1.0))]


def scales(pieces: Pieces, *, r: float, limit: float) -> Tensor:
    """Return per difference 1 + r * clip(shared / unique, 0, limit)."""
    unique, shared = total(pieces, _counts).reshape(-1, 2).unbind(1)
    ratio = torch.where(unique > 0.0, shared / unique.clamp(min=1.0), torch.zeros_like(unique))
    return 1.0 + r * ratio.clamp(0.0, limit)


@method(grain="element", measure=scales)
def ram_plus(deltas: Deltas, *, r: float = 0.1, limit: float = 2.0, measured: Tensor) -> Delta:
    """Scale unique changes by how much a model shares, average shared ones ("RAM+", arXiv 2601.13572)."""
    return merge_active(deltas, measured)
