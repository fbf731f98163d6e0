"""Averages of directions, done on inner products alone: a point is a list of coefficients of the inputs."""

import math

import torch
from torch import Tensor


class Sphere:
    """The unit sphere through N tensors of which only the N x N inner products are known (float64)."""

    def __init__(self, products: Tensor) -> None:
        """Take the Gram matrix of the tensors."""
        self.lengths = products.diagonal().clamp(min=0.0).sqrt()
        safe = torch.where(self.lengths > 0.0, self.lengths, torch.ones_like(self.lengths))
        self.products = products / torch.outer(safe, safe)
        self.safe = safe

    def length(self, point: Tensor) -> float:
        """Return the length of a combination of unit vectors."""
        return float((point @ self.products @ point).clamp(min=0.0).sqrt())

    def start(self) -> Tensor:
        """Return the normalised mean; of directions that cancel, the first."""
        mean = torch.full_like(self.lengths, 1.0 / len(self.lengths))
        length = self.length(mean)
        if length > 1e-9:
            return mean / length
        return torch.eye(len(mean), dtype=mean.dtype)[0]

    def step(self, at: Tensor) -> Tensor:
        """Return the exponential of the mean logarithm: one step of the Karcher iteration."""
        cosines = (self.products @ at).clamp(-1.0, 1.0)
        angles = torch.arccos(cosines)
        sines = torch.sin(angles)
        ratio = torch.where(sines > 1e-12, angles / sines.clamp(min=1e-12), torch.ones_like(angles))
        tangent = (ratio - (ratio * cosines).sum() * at) / len(at)
        length = self.length(tangent)
        if length < 1e-15:
            return at
        moved = math.cos(length) * at + math.sin(length) / length * tangent
        return moved / self.length(moved)

    def scaled(self, point: Tensor) -> Tensor:
        """Return coefficients of the tensors themselves for a direction of their mean length."""
        return point / self.safe * self.lengths.mean()
