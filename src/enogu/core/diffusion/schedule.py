"""The noise that a model was trained with: alphas-bar per timestep, and sigma as another name for it.

With abar = cumprod(1 - beta): x_t = sqrt(abar) x0 + sqrt(1 - abar) noise, and sigma = sqrt((1 - abar) / abar).
"""

from typing import Literal

import torch
from torch import Tensor

Schedule = Literal["scaled_linear", "linear"]

NUM_TIMESTEPS = 1000
SCALED_LINEAR_BETAS = (0.00085, 0.012)  # Stable Diffusion; linear in sqrt(beta)
LINEAR_BETAS = (1e-4, 0.02)  # Ho et al. 2020, section 4


def alphas_cumprod(kind: Schedule, *, zero_terminal_snr: bool = False, steps: int = NUM_TIMESTEPS) -> Tensor:
    """Return abar of every timestep in float64, least noise first; with zero terminal SNR the last is 0."""
    betas = _betas(kind, steps)
    abar = torch.cumprod(1 - betas, dim=0)
    return rescaled_to_zero_snr(abar) if zero_terminal_snr else abar


def rescaled_to_zero_snr(abar: Tensor) -> Tensor:
    """Shift and scale sqrt(abar) so that it ends at 0 and starts where it did (Lin et al. 2023, algorithm 1)."""
    signal = abar.sqrt()
    first, last = signal[0], signal[-1]
    return ((signal - last) * first / (first - last)).square()


def _betas(kind: Schedule, steps: int) -> Tensor:
    if kind == "scaled_linear":
        start, end = (beta**0.5 for beta in SCALED_LINEAR_BETAS)
        return torch.linspace(start, end, steps, dtype=torch.float64).square()
    return torch.linspace(*LINEAR_BETAS, steps, dtype=torch.float64)
