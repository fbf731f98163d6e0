"""Whether numbers are numbers."""

import math

import torch
from torch import Tensor


def is_finite(values: Tensor) -> bool:
    """Return whether no element is NaN or infinite: then neither the least nor the largest is."""
    wide = values if values.itemsize > 1 else values.float()  # torch does not compare 8-bit floats
    return not wide.numel() or all(math.isfinite(end) for end in torch.aminmax(wide))
