"""The structure of one model with the details of another, told apart by how alike their columns are."""

import numpy as np
import torch
from torch import Tensor

from enogu.merge.method import Survey, Weight, method

OUTLIERS = (1, 99)  # percentiles of all similarities; what lies beyond does not stretch the range (SuperMerger)


def by_column(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine between two tensors per column, over the first axis; 0 where one vanishes."""
    x, y = a.double().reshape(len(a) if a.ndim else 1, -1), b.double().reshape(len(b) if b.ndim else 1, -1)
    lengths = x.norm(dim=0) * y.norm(dim=0)
    return torch.where(lengths > 0.0, (x * y).sum(dim=0) / lengths.clamp(min=1e-300), 0.0)


def unit_columns(x: Tensor) -> Tensor:
    """Return a tensor whose columns have the length 1."""
    flat = x.double().reshape(len(x) if x.ndim else 1, -1)
    result: Tensor = flat / flat.norm(dim=0).clamp(min=1e-12)  # torch's floor in F.normalize
    return result


def bounds(similarities: Tensor) -> tuple[float, float]:
    """Return the range of the similarities of all tensors, without their outliers."""
    values = similarities.numpy()
    values = values[values >= np.percentile(values, OUTLIERS[0], method="midpoint")]
    values = values[values <= np.percentile(values, OUTLIERS[1], method="midpoint")]  # of what the first has left
    return float(values.min()), float(values.max())


def mixed(a: Tensor, b: Tensor, similarity: Tensor, *, surveyed: tuple[float, float], alpha: float) -> Tensor:
    """Return k a + (1 - k) b, where k goes from 0 to 1 with the similarity, less alpha."""
    low, high = surveyed
    k = ((similarity - low) / max(high - low, 1e-12) - alpha).clamp(0.0, 1.0)
    rows = (len(a) if a.ndim else 1, -1)
    result: Tensor = k * a.double().reshape(rows) + (1.0 - k) * b.double().reshape(rows)
    return result.reshape(a.shape).to(a.dtype)


def whole(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine between two whole tensors; 0 where one vanishes."""
    return by_column(a.reshape(-1), b.reshape(-1))


@method(grain="tensor", survey=Survey(by_column, bounds))
def cosine_a(a: Weight, b: Weight, *, alpha: float = 0.5, surveyed: tuple[float, float]) -> Weight:
    """Keep a where its columns are like those of b, take b elsewhere (SuperMerger, "cosineA")."""
    combined = (by_column(a, b) + whole(unit_columns(a), unit_columns(b))) / 2.0
    return mixed(a, b, combined, surveyed=surveyed, alpha=alpha)
