"""The weighted geometric mean."""

import math

import torch
from torch import Tensor

from enogu.merge.method import Weight, method


@method(grain="element")
def geometric_sum(a: Weight, b: Weight, *, alpha: float = 0.5) -> Weight:
    """Return the real part of a^(1 - alpha) b^alpha over the complex numbers (sd-mecha, "geometric sum")."""
    x, y = a.double(), b.double()  # float64, because powers differ in their last bit between CPU kernels
    size = x.abs() ** (1.0 - alpha) * y.abs() ** alpha
    turn = math.pi * ((1.0 - alpha) * (x < 0.0).double() + alpha * (y < 0.0).double())
    result: Tensor = (size * torch.cos(turn)).to(a.dtype)
    return result
