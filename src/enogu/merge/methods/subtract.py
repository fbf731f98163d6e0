"""Undoing a weighted sum."""

from enogu.core.records.errors import Refused
from enogu.merge.method import Weight, method


@method(grain="linear")
def subtract(a: Weight, b: Weight, *, alpha: float = 0.5) -> Weight:
    """Take a share alpha of b out of a: (a - alpha b) / (1 - alpha) (meh, "weighted subtraction")."""
    if alpha == 1.0:
        raise Refused("subtract(a, b, alpha): nothing is left of a model that is wholly b (alpha = 1)")
    return (a - alpha * b) / (1.0 - alpha)
