"""Take from a second model what is nearly equal already."""

from torch import Tensor

from enogu.merge.method import Weight, method

SMALLEST = 1e-6  # differences below count as this (mergekit)


@method(grain="element")
def nearswap(a: Weight, b: Weight, *, t: float = 0.001) -> Weight:
    """Take b where it is within t of a, and the less of it the farther off it is (alchemonaut; mergekit)."""
    share = (t / (a - b).abs().clamp(min=SMALLEST)).clamp(0.0, 1.0)
    result: Tensor = share * b + (1.0 - share) * a
    return result
