"""DoRA: the direction of a weight is learnt apart from its size (Liu et al. 2024, arXiv 2402.09353)."""

import torch
from torch import Tensor


def axis_squares(values: Tensor, axis: int) -> Tensor:
    """Return the sum of squares of each slice along an axis, in float64."""
    across = [each for each in range(values.ndim) if each != axis]
    return values.double().square().sum(across)


def rescale(changed: Tensor, magnitude: Tensor, squares: Tensor, *, axis: int) -> None:
    """Bring a changed weight to the learnt sizes of its slices along an axis, in place.

    As LyCORIS and PEFT train: the size that is divided out is that of the changed weight. ComfyUI divides by the
    unchanged weight's where the channels are outputs, which is another model than was trained.
    """
    size = squares.sqrt().to(changed.dtype) + torch.finfo(changed.dtype).eps
    changed *= (magnitude / size).reshape([-1 if each == axis else 1 for each in range(changed.ndim)])
