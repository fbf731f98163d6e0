"""Add-difference where models differ, weighted sum where they agree."""

import torch
from torch import Tensor

from enogu.merge.method import Weight, method


@method(grain="element")
def similarity_add(a: Weight, b: Weight, c: Weight, *, alpha: float = 0.5, beta: float = 0.5) -> Weight:
    """Go from a + alpha (b - c) to the mean of a and b by how alike a and b are (meh, "similarity add difference")."""
    larger = torch.maximum(a.abs(), b.abs())
    alike = beta * ((a * b / larger**2).nan_to_num(1.0, 1.0, 1.0) + 1.0) / 2.0
    summed = (1.0 - alpha / 2.0) * a + (alpha / 2.0) * b
    result: Tensor = (1.0 - alike) * (a + alpha * (b - c)) + alike * summed
    return result
