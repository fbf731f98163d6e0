"""A difference reduced to its strongest directions."""

import torch

from enogu.merge.lowrank import strongest
from enogu.merge.method import Delta, method
from enogu.merge.stretch import Stretch


@method(grain="tensor")
def truncate_rank(delta: Delta, *, rank: float = 32.0, elements: Stretch) -> Delta:
    """Keep the `rank` largest singular directions, found by a randomised SVD (Halko et al. 2011, arXiv 0909.4061)."""
    matrix = delta.reshape(len(delta), -1) if delta.ndim > 1 else delta.reshape(1, -1)
    if min(matrix.shape) <= rank:
        return delta
    u, sigma, v = strongest(matrix, int(rank), seed=elements.seed)
    return torch.einsum("ir,r,rj->ij", u, sigma, v).reshape(delta.shape).to(delta.dtype)
