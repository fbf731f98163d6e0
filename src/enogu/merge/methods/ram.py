"""RAM: what one model changed is kept whole, what several changed is averaged."""

import torch
from torch import Tensor

from enogu.merge.method import Delta, Deltas, method

ACTIVE = 1e-5  # smaller differences count as unchanged (the paper's threshold)


def merge_active(deltas: Deltas, scales: Tensor) -> Tensor:
    """Sum elements that one model changed, times its scale, and average those that several changed."""
    total, count = torch.zeros_like(deltas[0]), torch.zeros_like(deltas[0])
    alone = torch.zeros_like(deltas[0])
    for delta, scale in zip(deltas, scales, strict=True):
        active = (delta.abs() > ACTIVE).to(delta.dtype)
        total, count = total + delta * active, count + active
        alone = alone + delta * active * float(scale)
    return torch.where(count == 1.0, alone, total / count.clamp(min=1.0))


@method(grain="element")
def ram(deltas: Deltas) -> Delta:
    """Keep unique changes whole and average shared ones ("RAM", arXiv 2601.13572)."""
    return merge_active(deltas, torch.ones(len(deltas)))
