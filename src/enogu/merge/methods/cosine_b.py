"""The mix by likeness that weighs a tensor's large columns more."""

from torch import Tensor

from enogu.merge.method import Survey, Weight, method
from enogu.merge.methods.cosine_a import bounds, by_column, mixed, whole


def combined(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean of the cosine per column and that of the whole."""
    return (by_column(a, b) + whole(a, b)) / 2.0


@method(grain="tensor", survey=Survey(combined, bounds))
def cosine_b(a: Weight, b: Weight, *, alpha: float = 0.5, surveyed: tuple[float, float]) -> Weight:
    """Do as cosine_a with tensors as they are, not their columns at one length (SuperMerger, "cosineB")."""
    return mixed(a, b, combined(a, b), surveyed=surveyed, alpha=alpha)
