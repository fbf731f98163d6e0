"""Spherical interpolation of two tensors."""

import math

from torch import Tensor

from enogu.merge.method import Alike, Pieces, method
from enogu.merge.statistics import gram, mixture

COLLINEAR = 1e-6  # radians; below, an arc is a chord to the last bit


def arc(cosine: float, t: float) -> tuple[float, float]:
    """Return the coefficients of two unit vectors at t of the arc between them; opposite ones have no arc."""
    angle = math.acos(min(max(cosine, -1.0), 1.0))
    if angle < COLLINEAR or math.pi - angle < COLLINEAR:
        return 1.0 - t, t
    return math.sin((1.0 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def coefficients(pieces: Pieces, *, t: float) -> tuple[float, float]:
    """Return the coefficients for tensors as they are (Shoemake's formula on the angle between them)."""
    products = gram(pieces)
    norms = products.diagonal().sqrt()
    if not bool((norms > 0.0).all()):
        return 1.0 - t, t
    return arc(float(products[0, 1] / (norms[0] * norms[1])), t)


@method(grain="linear", measure=coefficients)
def slerp(a: Alike, b: Alike, *, t: float = 0.5, measured: tuple[float, float]) -> Alike:
    """Go from a to b along the arc between them, per tensor (Shoemake 1985).

    Fine-tunes of one model lie within a degree of each other, where this is the weighted sum: use it on differences.
    """
    result: Tensor = mixture([a, b], measured)
    return result
