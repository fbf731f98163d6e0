"""Samplers and sigma schedules under the names that A1111 gives them."""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from enogu.core.diffusion import samplers, sigmas
from enogu.core.diffusion.samplers import Denoise, Noise
from enogu.core.diffusion.schedule import NoiseTable
from enogu.core.records.errors import unknown

Walk = Callable[[Denoise, Tensor, Tensor, Noise], Tensor]


@dataclass(frozen=True)
class Method:
    """A sampler, the schedule that "Automatic" means for it, and how often it calls the denoiser per step."""

    walk: Walk
    automatic: str = "Uniform"
    calls_per_step: int = 1


def _without_noise(walk: Callable[[Denoise, Tensor, Tensor], Tensor]) -> Walk:
    return lambda denoise, x, levels, _: walk(denoise, x, levels)


METHODS = MappingProxyType(
    {
        "Euler a": Method(lambda denoise, x, levels, noise: samplers.euler_ancestral(denoise, x, levels, noise=noise)),
        "Euler": Method(_without_noise(samplers.euler)),
        "Heun": Method(_without_noise(samplers.heun), calls_per_step=2),
        "DPM++ 2M": Method(_without_noise(samplers.dpmpp_2m), automatic="Karras"),
    }
)
SCHEDULES = MappingProxyType(
    {
        "Uniform": sigmas.uniform,
        "Karras": sigmas.karras,
        "Exponential": sigmas.exponential,
        "SGM Uniform": sigmas.sgm_uniform,
        "Simple": sigmas.simple,
    }
)
AUTOMATIC = "Automatic"


def method(name: str) -> Method:
    """Return a sampler by name."""
    if name not in METHODS:
        raise unknown("sampler", name, METHODS)
    return METHODS[name]


def levels(schedule: str, sampler: str, table: NoiseTable, *, steps: int) -> Tensor:
    """Return the sigmas of a run."""
    chosen = method(sampler).automatic if schedule == AUTOMATIC else schedule
    if chosen not in SCHEDULES:
        raise unknown("schedule", chosen, [AUTOMATIC, *SCHEDULES])
    return SCHEDULES[chosen](table, steps)
