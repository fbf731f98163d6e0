"""One model's values in the other's order of size."""

import torch

from enogu.merge.method import Weight, method


@method(grain="tensor")
def top_k_sum(a: Weight, b: Weight, *, width: float = 0.5, offset: float = 0.0) -> Weight:
    """Put the i-th smallest of a where b has its i-th smallest, for a band of sizes (meh, "top-k tensor sum")."""
    flat = a.reshape(-1)
    values, ranked = flat.sort(stable=True).values, b.reshape(-1).argsort(stable=True)
    size_rank = torch.empty_like(ranked)
    size_rank[values.abs().argsort(stable=True)] = torch.arange(flat.numel())
    begin, end = round(flat.numel() * offset), round(flat.numel() * (offset + width))
    inside = (size_rank >= begin) & (size_rank < end) | (size_rank < end - flat.numel())  # which wraps, as tensor_sum's
    result = flat.clone()
    result[ranked[inside]] = values[inside]
    return result.reshape(a.shape)
