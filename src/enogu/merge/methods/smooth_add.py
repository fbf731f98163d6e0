"""Add-difference with the difference smoothed first."""

import torch
from torch import Tensor

from enogu.merge.method import Weight, method

ROWS_OF = 1 << 18  # elements per slab: a window of a convolution holds 81 of them
RADIUS = 4  # a Gaussian of sigma 1, cut at four sigmas


def _near(x: Tensor, axis: int, radius: int) -> list[Tensor]:
    """Return x shifted along an axis by -radius to radius, mirrored at its ends, the edge repeated."""
    length = x.shape[axis]
    place = torch.arange(length)
    mirrored = [(place + shift) % (2 * length) for shift in range(-radius, radius + 1)]
    return [x.index_select(axis, torch.where(at < length, at, 2 * length - 1 - at)) for at in mirrored]


def median3(x: Tensor) -> Tensor:
    """Return the median over a window of 3 along every axis at once, a few rows at a time."""
    above, here, below = _near(x, 0, 1)
    rows = max(ROWS_OF // max(x[0].numel(), 1), 1)
    slabs = []
    for i in range(0, len(x), rows):
        window = [each[i : i + rows] for each in (above, here, below)]
        for axis in range(1, x.ndim):
            window = [shifted for each in window for shifted in _near(each, axis, 1)]
        slabs.append(torch.stack(window).median(0).values)
    return torch.cat(slabs)


def gauss1(x: Tensor) -> Tensor:
    """Blur along every axis by a Gaussian of sigma 1."""
    weights = torch.exp(-0.5 * torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float64) ** 2)
    weights /= weights.sum()
    for axis in range(x.ndim):
        near = _near(x, axis, RADIUS)
        x = sum((float(w) * each for w, each in zip(weights, near, strict=True)), start=torch.zeros_like(x))
    return x


@method(grain="tensor")
def smooth_add(a: Weight, b: Weight, c: Weight, *, alpha: float = 1.0) -> Weight:
    """Add b - c after a median of 3 and a Gaussian of sigma 1 over all axes (SuperMerger, "smoothAdd")."""
    rows = (b - c).reshape(b.shape or (1,))
    result: Tensor = a + alpha * gauss1(median3(rows)).reshape(a.shape)
    return result
