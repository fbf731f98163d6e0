"""Isotropic merging: every direction of the summed difference counts the same."""

import torch
from torch import Tensor

from enogu.merge.method import Delta, Deltas, method
from enogu.merge.statistics import weighted


def reshape_spectrum(delta: Tensor, z: float) -> Tensor:
    """Move the singular values of a matrix to their mean, by 1 - z of the way."""
    u, sigma, v = torch.linalg.svd(delta.double(), full_matrices=False)
    moved = sigma.mean() + z * (sigma - sigma.mean())
    result: Tensor = ((u * moved) @ v).to(delta.dtype)
    return result


def is_matrix(delta: Tensor, convolutions: float) -> bool:
    """Return whether a tensor is treated as a matrix: convolutions only if asked."""
    return delta.ndim == 2 or (bool(convolutions) and delta.ndim > 2)


@method(grain="tensor")
def iso_c(deltas: Deltas, *, convolutions: float = 0.0) -> Delta:
    """Give the sum of differences equal singular values; average what is no matrix (arXiv 2502.04959)."""
    summed = weighted(deltas, [1.0] * len(deltas))
    if not is_matrix(summed, convolutions):
        return summed / len(deltas)
    return reshape_spectrum(summed.reshape(len(summed), -1), 0.0).reshape(summed.shape)
