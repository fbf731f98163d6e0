"""Two weighted sums in a row."""

from enogu.merge.method import Alike, method


@method(grain="linear")
def sum_twice(a: Alike, b: Alike, c: Alike, *, alpha: float = 0.5, beta: float = 0.5) -> Alike:
    """Merge a and b by alpha, then that and c by beta (SuperMerger, "Sum Twice")."""
    return (1.0 - beta) * ((1.0 - alpha) * a + alpha * b) + beta * c
