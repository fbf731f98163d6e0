"""DoRA: the direction of a weight is learnt apart from its size (Liu et al. 2024, arXiv 2402.09353)."""

import torch
from torch import Tensor

ROWS = 64  # widened to float64 at once


def rescale(weight: Tensor, magnitude: Tensor, *, rows: bool) -> None:
    """Bring a changed weight to the learnt sizes, one per output channel (`rows`) or per input channel, in place.

    As LyCORIS and PEFT train: the size that is divided out is that of the changed weight. ComfyUI divides by the
    unchanged weight's where the channels are outputs, which is another model than was trained.
    """
    parts = [_squares(weight[at : at + ROWS], rows=rows) for at in range(0, len(weight), ROWS)]
    squares = torch.cat(parts) if rows else torch.stack(parts).sum(0)
    size = squares.sqrt().to(weight.dtype) + torch.finfo(weight.dtype).eps
    shape = [-1 if axis == (0 if rows else 1) else 1 for axis in range(weight.ndim)]
    weight *= (magnitude.reshape(-1) / size).reshape(shape)


def _squares(part: Tensor, *, rows: bool) -> Tensor:
    across = [axis for axis in range(part.ndim) if axis != (0 if rows else 1)]
    return part.double().square().sum(across)
