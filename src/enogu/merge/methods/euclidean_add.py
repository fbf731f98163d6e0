"""Two differences as two sides of a right angle."""

import torch
from torch import Tensor

from enogu.merge.method import Pieces, Weight, method
from enogu.merge.statistics import total


def sides(pieces: Pieces, *, alpha: float) -> tuple[float, float, float, float]:
    """Return the lengths of a - c and b - c, of the mix of both, and of what is made of their directions."""
    first, second, mixed = (
        float(x) for x in total(pieces, lambda t: [(d.double() ** 2) for d in _differences(*t, alpha=alpha)]).sqrt()
    )
    # the squares of unit vectors, mixed by alpha, sum to 1 where neither vanishes
    length = ((1.0 - alpha) * (first > 0.0) + alpha * (second > 0.0)) ** 0.5
    return first, second, mixed, length


@method(grain="element", measure=sides)
def euclidean_add(
    a: Weight, b: Weight, c: Weight, *, alpha: float = 0.5, measured: tuple[float, float, float, float]
) -> Weight:
    """Add to c the root mean square of both directions, as long as the mix (meh, "Euclidean add difference")."""
    first, second, mixed, length = measured
    if not length:
        return c.clone()
    u, v, mix = (each.double() for each in _differences(a, b, c, alpha=alpha))
    square = (1.0 - alpha) * (u / (first or 1.0)) ** 2 + alpha * (v / (second or 1.0)) ** 2
    result: Tensor = c + torch.copysign(square.sqrt(), mix).mul_(mixed / length).to(c.dtype)
    return result


def _differences(a: Tensor, b: Tensor, c: Tensor, *, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    u, v = a - c, b - c
    return u, v, (1.0 - alpha) * u + alpha * v
