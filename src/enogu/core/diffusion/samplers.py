"""Samplers: `f(denoise, x, sigmas, ...) -> x0`, each a short walk down the sigmas to their final 0.

`denoise(x, sigma)` returns x0; x starts as noise of standard deviation sigmas[0]. All but the ancestral one
solve the probability flow dx/dsigma = (x - x0) / sigma (Karras et al. 2022, equation 1 with sigma(t) = t).
"""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

from torch import Tensor

Denoise = Callable[[Tensor, float], Tensor]
Noise = Callable[[], Tensor]


def euler(denoise: Denoise, x: Tensor, sigmas: Tensor) -> Tensor:
    """Follow the slope at the start of each step (Karras et al. 2022, algorithm 1 without its correction)."""
    for sigma, below in _steps(sigmas):
        slope = (x - denoise(x, sigma)) / sigma
        x = x + slope * (below - sigma)
    return x


def euler_ancestral(denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: Noise) -> Tensor:
    """Step to less noise than asked for and add fresh noise up to it (DDPM's posterior; k-diffusion, eta = 1)."""
    for sigma, below in _steps(sigmas):
        up, down = ancestral_split(sigma, below)
        slope = (x - denoise(x, sigma)) / sigma
        x = x + slope * (down - sigma)
        if up > 0:
            x = x + up * noise()
    return x


def heun(denoise: Denoise, x: Tensor, sigmas: Tensor) -> Tensor:
    """Average the slopes at both ends of each step (Karras et al. 2022, algorithm 1)."""
    for sigma, below in _steps(sigmas):
        slope = (x - denoise(x, sigma)) / sigma
        guess = x + slope * (below - sigma)
        if below > 0:
            slope = (slope + (guess - denoise(guess, below)) / below) / 2
            guess = x + slope * (below - sigma)
        x = guess
    return x


def dpmpp_2m(denoise: Denoise, x: Tensor, sigmas: Tensor) -> Tensor:
    """Solve exactly but for x0, extrapolated from the last two in log sigma (Lu et al. 2022b, algorithm 2)."""
    before: tuple[Tensor, float] | None = None
    for sigma, below in _steps(sigmas):
        x0 = blend = denoise(x, sigma)
        if below == 0:
            return x0
        width = math.log(sigma / below)
        if before is not None:
            x0_before, width_before = before
            blend = x0 + (x0 - x0_before) * (width / width_before / 2)
        x = below / sigma * x - math.expm1(-width) * blend
        before = x0, width
    return x


def ancestral_split(sigma: float, below: float) -> tuple[float, float]:
    """Return the noise to add and the sigma to step down to, whose variances sum to that of `below`."""
    up = min(below, math.sqrt(below**2 * (sigma**2 - below**2) / sigma**2))
    return up, math.sqrt(below**2 - up**2)


def _steps(sigmas: Tensor) -> Iterator[tuple[float, float]]:
    return pairwise(sigmas.tolist())
