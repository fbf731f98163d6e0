"""One model's values in the other's order of size."""

import torch
from torch import Tensor

from enogu.merge.method import Weight, method
from enogu.merge.statistics import share


@method(grain="tensor")
def top_k_sum(a: Weight, b: Weight, *, width: float = 0.5, offset: float = 0.0) -> Weight:
    """Put the i-th smallest of a where b has its i-th smallest, for a band of a's values (meh, "top-k tensor sum")."""
    flat = a.reshape(-1)
    order, ranked = flat.argsort(stable=True), b.reshape(-1).argsort(stable=True)
    moved = torch.empty_like(flat)
    moved[ranked] = flat[order]
    place = torch.arange(flat.numel())
    begin = int(flat.numel() * offset)
    band = (place >= begin) & (place < begin + share(flat.numel(), width))
    inside = torch.empty_like(band)
    inside[ranked] = band
    result: Tensor = torch.where(inside, moved, flat).reshape(a.shape)
    return result
