"""The weighted sum of two models."""

from enogu.merge.method import Alike, method


@method(grain="linear")
def weighted_sum(a: Alike, b: Alike, *, alpha: float = 0.5) -> Alike:
    """Go from a to b by alpha: (1 - alpha) a + alpha b (A1111 webui, "Weighted sum")."""
    return (1.0 - alpha) * a + alpha * b
