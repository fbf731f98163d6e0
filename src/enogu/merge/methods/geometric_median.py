"""The point with the least sum of distances to all models."""

import torch
from torch import Tensor

from enogu.merge.method import Alike, Alikes, Pieces, method
from enogu.merge.statistics import gram, mixture

STEPS = 1000
TOLERANCE = 1e-12  # change of the weights at which the iteration stops
NEAREST = 1e-6  # of the mean distance: a model as near as this counts as if it were this far (Weiszfeld's pole)


def coefficients(pieces: Pieces) -> Tensor:
    """Return Weiszfeld weights; distances to any mixture follow from the inner products."""
    products = gram(pieces)
    weights = torch.full((len(products),), 1.0 / len(products), dtype=torch.float64)
    squares = products.diagonal()
    for _ in range(STEPS):
        distances = (squares - 2.0 * products @ weights + weights @ products @ weights).clamp(min=0.0).sqrt()
        floor = NEAREST * float(distances.mean())
        if floor == 0.0:
            break
        pull = 1.0 / distances.clamp(min=floor)
        before, weights = weights, pull / pull.sum()
        if float((weights - before).abs().max()) < TOLERANCE:
            break
    return weights


@method(grain="linear", measure=coefficients)
def geometric_median(models: Alikes, *, measured: Tensor) -> Alike:
    """Minimise the sum of distances, per tensor (Weiszfeld 1937): an average that outliers cannot sway."""
    result: Tensor = mixture(models, measured)
    return result
