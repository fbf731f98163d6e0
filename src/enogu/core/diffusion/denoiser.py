"""A trained network as a denoiser: `denoise(x, sigma, context) -> x0`, with x = x0 + sigma * noise.

Here the timesteps and the variance-preserving scale of training end; samplers know sigma alone.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from enogu.core.diffusion.objective import Prediction
from enogu.core.diffusion.schedule import NoiseTable

Network = Callable[[Tensor, Tensor, Tensor], Tensor]


class Denoiser:
    """Wraps network(x_t, t, context), which predicts eps or v, as k-diffusion's external models do."""

    def __init__(self, network: Network, table: NoiseTable, prediction: Prediction) -> None:
        """Keep the network, the noise that it was trained with, and what it predicts."""
        self.network = network
        self.table = table
        self.prediction = prediction

    def __call__(self, x: Tensor, sigma: float, context: Tensor) -> Tensor:
        """Return x0 for a batch at one sigma."""
        scale = math.hypot(sigma, 1)
        t = self.table.sigma_to_t(torch.tensor([sigma])).to(x).expand(len(x))
        output = self.network(x / scale, t, context)
        if self.prediction == "eps":
            return x - sigma * output
        return x / scale**2 - output * (sigma / scale)
