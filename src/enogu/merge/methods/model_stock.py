"""Model stock: how far to go towards the average, told by the angle between fine-tunes."""

import torch
from torch import Tensor

from enogu.merge.method import Delta, Deltas, Pieces, method
from enogu.merge.statistics import gram, mixture


def ratio(pieces: Pieces) -> float:
    """Return t = N cos / (1 + (N - 1) cos), from the mean cosine of all pairs, within 0 and 1."""
    products = gram(pieces)
    norms = products.diagonal().clamp(min=0.0).sqrt()
    count = len(norms)
    if count == 1 or not bool((norms > 0.0).all()):
        return 1.0
    cosines = products / torch.outer(norms, norms)
    mean = float((cosines.sum() - cosines.diagonal().sum()) / (count * (count - 1)))
    return count * mean / (1.0 + (count - 1) * mean) if mean > 0.0 else 0.0


@method(grain="linear", measure=ratio)
def model_stock(deltas: Deltas, *, measured: float) -> Delta:
    """Shrink the mean difference to the foot of the perpendicular from the centre (Jang et al., arXiv 2403.19522)."""
    result: Tensor = mixture(deltas, [measured / len(deltas)] * len(deltas))
    return result
