"""The weighted sum of three models."""

from enogu.merge.method import Alike, method


@method(grain="linear")
def triple_sum(a: Alike, b: Alike, c: Alike, *, alpha: float = 1 / 3, beta: float = 1 / 3) -> Alike:
    """Mix three models: (1 - alpha - beta) a + alpha b + beta c (SuperMerger, "Triple Sum")."""
    return (1.0 - alpha - beta) * a + alpha * b + beta * c
