"""DELLA: drop at random, the small ones sooner."""

import torch
from torch import Tensor

from enogu.core.records.errors import Refused
from enogu.merge.method import Delta, Deltas, method
from enogu.merge.statistics import weighted
from enogu.merge.stretch import Stretch


def keep_chance(delta: Tensor, *, keep: float, epsilon: float) -> Tensor:
    """Return chances by rank within the row: keep - epsilon/2 for the smallest, keep + epsilon/2 for the largest."""
    rows = delta.abs().reshape(len(delta), -1) if delta.ndim > 1 else delta.abs().reshape(1, -1)
    ranks = torch.empty_like(rows)
    order = rows.argsort(dim=1, stable=True)
    ranks.scatter_(1, order, torch.arange(rows.shape[1], dtype=rows.dtype).expand_as(rows))
    spread = (ranks / max(rows.shape[1] - 1, 1) - 0.5) * epsilon
    return (keep + spread).reshape(delta.shape)


@method(grain="row")
def della(deltas: Deltas, *, drop: float = 0.5, epsilon: float = 0.2, rescale: float = 1.0, elements: Stretch) -> Delta:
    """Drop elements with a probability that falls with their rank in the row, rescale, average (arXiv 2406.11617).

    Chances go from drop + epsilon/2 (smallest) to drop - epsilon/2 (largest); a negative epsilon turns them.
    """
    keep, least = 1.0 - drop, 1.0 - drop - abs(epsilon) / 2.0
    if not 0.0 < least <= keep + abs(epsilon) / 2.0 <= 1.0:
        raise Refused(f"della(): drop {drop:g} with epsilon {epsilon:g} leaves chances outside of 0 to 1")
    kept = []
    for i, delta in enumerate(deltas):
        chance = keep_chance(delta, keep=keep, epsilon=epsilon)
        mask = elements.uniform(i, delta) < chance
        kept.append(delta * mask / chance if rescale else delta * mask)
    return weighted(kept, [1.0 / len(kept)] * len(kept))
