"""DELLA: drop at random, the small ones sooner."""

import numpy as np
import torch
from torch import Tensor

from enogu.core.records.errors import Refused
from enogu.merge.method import Delta, Deltas, method
from enogu.merge.statistics import weighted
from enogu.merge.stretch import STEPS, Stretch


def ranks(sizes: Tensor) -> Tensor:
    """Return each element's place in its row by size, from 0; equal ones stand as they come."""
    count = sizes.shape[1]
    places = torch.arange(count)
    if sizes.dtype == torch.float32:  # positive floats sort as integers do; the place in the lower half breaks ties
        keys = (sizes.view(torch.int32).to(torch.int64) << 32).bitwise_or_(places)
        keys.numpy().sort(axis=1)
        order = keys.bitwise_and_(0xFFFFFFFF)
    else:
        order = sizes.argsort(dim=1, stable=True)
    return torch.empty_like(sizes).scatter_(1, order, places.to(sizes.dtype).expand_as(sizes))


def keep_chance(delta: Tensor, *, keep: float, epsilon: float) -> Tensor:
    """Return chances by rank within the row: keep - epsilon/2 for the smallest, keep + epsilon/2 for the largest."""
    rows = delta.abs().reshape(len(delta), -1) if delta.ndim > 1 else delta.abs().reshape(1, -1)
    share = ranks(rows).div_(max(rows.shape[1] - 1, 1))
    return share.sub_(0.5).mul_(epsilon).add_(keep).reshape(delta.shape)


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
        luck = torch.from_numpy(elements.draws(i, delta).astype(np.float32)).to(delta.dtype).add_(0.5).div_(STEPS)
        mask = luck.sub_(chance).lt_(0.0)
        kept.append(mask.mul_(delta).div_(chance) if rescale else mask.mul_(delta))
    return weighted(kept, [1.0 / len(kept)] * len(kept))
