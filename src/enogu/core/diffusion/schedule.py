"""The noise that a model was trained with: alphas-bar per timestep, and sigma as another name for it.

With abar = cumprod(1 - beta): x_t = sqrt(abar) x0 + sqrt(1 - abar) noise, and sigma = sqrt((1 - abar) / abar).
"""

import math
from typing import Literal

import torch
from torch import Tensor

Schedule = Literal["scaled_linear", "linear"]

NUM_TIMESTEPS = 1000
SCALED_LINEAR_BETAS = (0.00085, 0.012)  # Stable Diffusion; linear in sqrt(beta)
LINEAR_BETAS = (1e-4, 0.02)  # Ho et al. 2020, section 4
TERMINAL_ABAR = 4.8973451890853435e-8  # what A1111 puts for the last abar of a zero-terminal-SNR model


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


class NoiseTable:
    """Sigma of every timestep, and both ways between: log sigma is linear in t between entries (k-diffusion)."""

    def __init__(self, abar: Tensor) -> None:
        """Tabulate in float64; an abar of 0 is raised to the value that UIs use, so that sigma stays finite."""
        abar = abar.double().clamp(min=TERMINAL_ABAR)
        self.log_sigmas = ((1 - abar) / abar).log() / 2

    @property
    def sigma_min(self) -> float:
        """Return the sigma of the first timestep."""
        return math.exp(self.log_sigmas[0].item())

    @property
    def sigma_max(self) -> float:
        """Return the sigma of the last timestep."""
        return math.exp(self.log_sigmas[-1].item())

    def t_to_sigma(self, t: Tensor) -> Tensor:
        """Return the sigma of fractional timesteps, float64."""
        t = t.double().clamp(0, len(self.log_sigmas) - 1)
        low = t.floor().long()
        high = t.ceil().long()
        return torch.lerp(self.log_sigmas[low], self.log_sigmas[high], t - low).exp()

    def sigma_to_t(self, sigma: Tensor) -> Tensor:
        """Return the fractional timestep of each sigma, float64; beyond the table, its ends."""
        log_sigma = sigma.double().log()
        high = torch.searchsorted(self.log_sigmas, log_sigma).clamp(1, len(self.log_sigmas) - 1)
        low = high - 1
        below, above = self.log_sigmas[low], self.log_sigmas[high]
        return low + ((log_sigma - below) / (above - below)).clamp(0, 1)
