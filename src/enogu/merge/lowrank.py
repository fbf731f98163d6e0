"""The strongest singular directions of a matrix, without the others."""

import torch
from torch import Tensor

from enogu.core.records.seed import generator

OVERSAMPLING = 8  # directions more than asked for (Halko et al. 2011, section 4.3, advises 5 or 10)
EXACT_BELOW = 4  # with fewer times as many directions in all, the exact way costs no more
POWER = 2  # passes that sharpen a slow spectrum


def strongest(matrix: Tensor, rank: int, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return U, singular values, V^T of the largest `rank`: randomised SVD (Halko et al., arXiv 0909.4061)."""
    rows, columns = matrix.shape
    width = rank + OVERSAMPLING
    if EXACT_BELOW * width > min(rows, columns):
        u, sigma, v = torch.linalg.svd(matrix, full_matrices=False)
        return u[:, :rank], sigma[:rank], v[:rank]
    noise = generator(seed, "randomised SVD", rows, columns).standard_normal((columns, width))
    basis = torch.linalg.qr(matrix @ torch.from_numpy(noise).to(matrix.dtype)).Q
    for _ in range(POWER):
        basis = torch.linalg.qr(matrix.T @ basis).Q
        basis = torch.linalg.qr(matrix @ basis).Q
    u, sigma, v = torch.linalg.svd(basis.T @ matrix, full_matrices=False)
    return basis @ u[:, :rank], sigma[:rank], v[:rank]
