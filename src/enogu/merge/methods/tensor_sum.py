"""Some rows of one model, the others of another."""

import torch
from torch import Tensor

from enogu.merge.method import Weight, method
from enogu.merge.stretch import Stretch


@method(grain="row")
def tensor_sum(a: Weight, b: Weight, *, width: float = 0.5, offset: float = 0.0, elements: Stretch) -> Weight:
    """Take rows [offset, offset + width) of b, as shares of the first axis, wrapping at its end (SuperMerger)."""
    rows = elements.shape[0] if elements.shape else 1
    row = torch.arange(elements.row, elements.row + a.shape[0]) if a.ndim else torch.zeros(1, dtype=torch.int64)
    begin, end = int(rows * offset), int(rows * (offset + width))
    inside = (row >= begin) & (row < end) if end <= rows else (row >= begin) | (row < end - rows)
    result: Tensor = torch.where(inside.reshape(-1, *[1] * (a.ndim - 1)) if a.ndim else inside[0], b, a)
    return result
