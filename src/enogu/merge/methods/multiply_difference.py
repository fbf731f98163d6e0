"""The geometric mean of two differences."""

import torch
from torch import Tensor

from enogu.merge.method import Weight, method


@method(grain="element")
def multiply_difference(a: Weight, b: Weight, c: Weight, *, alpha: float = 0.5, beta: float = 0.5) -> Weight:
    """Take |a - c|^(1 - alpha) |b - c|^alpha with the sign of the beta mix of the differences (meh)."""
    u, v = (a - c).double(), (b - c).double()  # float64, because powers differ in their last bit between CPU kernels
    size = u.abs() ** (1.0 - alpha) * v.abs() ** alpha
    result: Tensor = c + torch.copysign(size, (1.0 - beta) * u + beta * v).to(c.dtype)
    return result
