"""DoRA: the direction of a weight is learnt apart from its size (Liu et al. 2024, arXiv 2402.09353)."""

import torch
from torch import Tensor


def rescaled(weight: Tensor, magnitude: Tensor, *, rows: bool) -> Tensor:
    """Return a changed weight at the learnt sizes, one per output channel (`rows`) or per input channel.

    As LyCORIS and PEFT train: the size that is divided out is that of the changed weight. ComfyUI divides by the
    unchanged weight's where the channels are outputs, which is another model than was trained.
    """
    across = [axis for axis in range(weight.ndim) if axis != (0 if rows else 1)]
    size = torch.linalg.vector_norm(weight.double(), dim=across, keepdim=True).to(weight.dtype)
    shape = [-1 if axis == (0 if rows else 1) else 1 for axis in range(weight.ndim)]
    factor: Tensor = magnitude.reshape(shape) / (size + torch.finfo(weight.dtype).eps)
    return weight * factor
