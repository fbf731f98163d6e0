"""Low frequencies of one model, high ones of another."""

import math

import torch
from torch import Tensor

from enogu.merge.method import Alike, method


def radius(shape: tuple[int, ...]) -> Tensor:
    """Return the frequency of each coefficient of a real transform, from 0 to 1."""
    axes = [torch.fft.fftfreq(size, dtype=torch.float64) for size in shape[:-1]]
    axes.append(torch.fft.rfftfreq(shape[-1], dtype=torch.float64))
    squares = [(axis / 0.5) ** 2 for axis in axes]
    grids = torch.meshgrid(*squares, indexing="ij")
    return (sum(grids[1:], start=grids[0]) / len(shape)).sqrt()


@method(grain="tensor")
def crossover(a: Alike, b: Alike, *, alpha: float = 0.5, tilt: float = 0.0) -> Alike:
    """Take frequencies above 1 - alpha from b, the rest from a; tilt leans the step to a plain mix (sd-mecha)."""
    if a.ndim == 0 or alpha in (0.0, 1.0):
        return (1.0 - alpha) * a + alpha * b
    r = radius(tuple(a.shape))
    edge = 1.0 - alpha
    slope = 1.0 / math.tan(0.5 * math.pi * tilt) if tilt > 0.0 else math.inf
    share = ((r - edge) * slope + alpha).clamp(0.0, 1.0) if tilt > 0.0 else (r > edge).double()
    mixed = (1.0 - share) * torch.fft.rfftn(a.double()) + share * torch.fft.rfftn(b.double())
    result: Tensor = torch.fft.irfftn(mixed, s=a.shape).to(a.dtype)
    return result
