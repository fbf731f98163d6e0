"""Sigma schedules: the noise levels that a sampler visits, in float64, falling, with a final 0."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from enogu.core.diffusion.schedule import NoiseTable

SigmaSchedule = Callable[[NoiseTable, int], Tensor]


def uniform(table: NoiseTable, count: int) -> Tensor:
    """Timesteps evenly from the last to the first (k-diffusion's default; A1111 "Uniform")."""
    return _ended(table.t_to_sigma(torch.linspace(len(table.log_sigmas) - 1, 0, count, dtype=torch.float64)))


def karras(table: NoiseTable, count: int, rho: float = 7.0) -> Tensor:
    """Evenly in sigma^(1/rho) (Karras et al. 2022, equation 5)."""
    ramp = torch.linspace(0, 1, count, dtype=torch.float64)
    start, end = table.sigma_max ** (1 / rho), table.sigma_min ** (1 / rho)
    return _ended((start + ramp * (end - start)) ** rho)


def exponential(table: NoiseTable, count: int) -> Tensor:
    """Evenly in log sigma (k-diffusion)."""
    ends = math.log(table.sigma_max), math.log(table.sigma_min)
    return _ended(torch.linspace(*ends, count, dtype=torch.float64).exp())


def sgm_uniform(table: NoiseTable, count: int) -> Tensor:
    """Timesteps evenly, the step into 0 as long as the others (Stability's generative-models)."""
    t = torch.linspace(len(table.log_sigmas) - 1, 0, count + 1, dtype=torch.float64)
    return _ended(table.t_to_sigma(t[:-1]))


def simple(table: NoiseTable, count: int) -> Tensor:
    """Entries of the table at even strides from its last (ComfyUI)."""
    total = len(table.log_sigmas)
    return _ended(table.log_sigmas[[total - 1 - k * total // count for k in range(count)]].exp())


def _ended(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas, sigmas.new_zeros(1)])
