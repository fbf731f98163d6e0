"""Add-difference weighted as if it were trained in."""

from torch import Tensor

from enogu.merge.method import Weight, method

STRENGTH = 1.8  # SuperMerger's factor, found by its author's trials


@method(grain="element")
def train_difference(a: Weight, b: Weight, c: Weight, *, alpha: float = 1.0) -> Weight:
    """Add b - c the more, the farther a is from b (SuperMerger, "trainDifference")."""
    far, learnt = (b - a).abs(), (b - c).abs()
    result: Tensor = a + STRENGTH * alpha * (far / (far + learnt)).nan_to_num(0.0) * (b - c)
    return result
