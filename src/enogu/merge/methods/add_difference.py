"""What one model learnt since another, added to a third."""

from enogu.merge.method import Weight, method


@method(grain="linear")
def add_difference(a: Weight, b: Weight, c: Weight, *, alpha: float = 1.0) -> Weight:
    """Add what b has over c: a + alpha (b - c) (A1111 webui, "Add difference"; task arithmetic, arXiv 2212.04089)."""
    return a + alpha * (b - c)
