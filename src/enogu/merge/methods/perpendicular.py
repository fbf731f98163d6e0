"""Only what is new in a second difference."""

import torch
from torch import Tensor

from enogu.merge.method import Pieces, Weight, method
from enogu.merge.statistics import gram


def overlap(pieces: Pieces, *, alpha: float) -> Tensor:
    """Return <b - c, a - c> / |a - c|^2."""
    lift = torch.tensor([[1.0, 0.0, -1.0], [0.0, 1.0, -1.0]], dtype=torch.float64)
    products = lift @ gram(pieces) @ lift.T
    return products[0, 1] / products[0, 0] if products[0, 0] > 0.0 else torch.zeros((), dtype=torch.float64)


@method(grain="element", measure=overlap)
def perpendicular(a: Weight, b: Weight, c: Weight, *, alpha: float = 1.0, measured: Tensor) -> Weight:
    """Add to a the part of b - c that is perpendicular to a - c, per tensor (sd-mecha, "perpendicular component")."""
    result: Tensor = a + alpha * ((b - c) - float(measured) * (a - c))
    return result
