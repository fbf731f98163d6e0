"""Samplers on Gaussian data, where the best denoiser and the whole flow are known in closed form."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from enogu.core.diffusion import samplers
from enogu.core.diffusion.denoiser import Denoiser
from enogu.core.diffusion.guidance import cfg_factors
from enogu.core.diffusion.objective import target
from enogu.core.diffusion.schedule import NoiseTable, alphas_cumprod
from enogu.core.diffusion.sigmas import karras, uniform

MEAN, SPREAD = 0.7, 0.5  # the data are N(MEAN, SPREAD^2)
TABLE = NoiseTable(alphas_cumprod("scaled_linear"))


def ideal(x: Tensor, sigma: float) -> Tensor:
    return MEAN + (x - MEAN) * SPREAD**2 / (SPREAD**2 + sigma**2)


def flow(x: Tensor, high: float, low: float) -> Tensor:
    """Where the probability flow takes x from sigma = high to low."""
    return MEAN + (x - MEAN) * math.hypot(SPREAD, low) / math.hypot(SPREAD, high)


def start(count: int = 64) -> Tensor:
    return TABLE.sigma_max * torch.randn(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def error(sampler: Callable[..., Tensor], steps: int) -> float:
    """The error of a sampler on an interval away from 0, where every sampler takes its full order."""
    sigmas = torch.linspace(math.log(10), math.log(0.2), steps + 1, dtype=torch.float64).exp()
    x = start()
    return (sampler(ideal, x, sigmas) - flow(x, 10, 0.2)).abs().max().item()


@pytest.mark.parametrize(("sampler", "order"), [(samplers.euler, 1), (samplers.heun, 2), (samplers.dpmpp_2m, 2)])
def test_errors_fall_at_the_order_of_the_method(sampler: Callable[..., Tensor], order: int) -> None:
    observed = math.log2(error(sampler, 160) / error(sampler, 320))
    assert observed == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize(
    ("sampler", "bound"), [(samplers.euler, 0.02), (samplers.heun, 2e-4), (samplers.dpmpp_2m, 2e-4)]
)
def test_samplers_end_where_the_flow_does(sampler: Callable[..., Tensor], bound: float) -> None:
    x = start()
    goal = ideal(flow(x, TABLE.sigma_max, TABLE.sigma_min), TABLE.sigma_min)
    assert (sampler(ideal, x, karras(TABLE, 200)) - goal).abs().max() < bound


def test_euler_is_the_recursion_written_out() -> None:
    values = uniform(TABLE, 6).tolist()
    x = float(start(1))
    for high, low in pairwise(values):
        x = x * low / high + (1 - low / high) * (MEAN + (x - MEAN) * SPREAD**2 / (SPREAD**2 + high**2))
    assert samplers.euler(ideal, start(1), uniform(TABLE, 6)).item() == pytest.approx(x, rel=1e-12)


def test_dpmpp_2m_is_the_formula_written_out() -> None:
    s = karras(TABLE, 4).tolist()
    level = [-math.log(sigma) for sigma in s[:4]]
    x = float(start(1))
    d = [float(ideal(torch.tensor(x, dtype=torch.float64), s[0]))]
    x = s[1] / s[0] * x - math.expm1(level[0] - level[1]) * d[0]
    for i in (1, 2):
        d.append(float(ideal(torch.tensor(x, dtype=torch.float64), s[i])))
        r = (level[i] - level[i - 1]) / (level[i + 1] - level[i])
        x = s[i + 1] / s[i] * x - math.expm1(level[i] - level[i + 1]) * ((1 + 1 / (2 * r)) * d[i] - d[i - 1] / (2 * r))
    x = float(ideal(torch.tensor(x, dtype=torch.float64), s[3]))
    assert samplers.dpmpp_2m(ideal, start(1), karras(TABLE, 4)).item() == pytest.approx(x, rel=1e-12)


def test_ancestral_split_keeps_the_variance_and_is_the_posterior_of_ddpm() -> None:
    for high, low in [(14.6, 10.7), (1.05, 0.88), (0.3, 0.03)]:
        up, down = samplers.ancestral_split(high, low)
        assert up**2 + down**2 == pytest.approx(low**2)
        assert up**2 == pytest.approx(low**2 * (1 - low**2 / high**2))  # Ho et al. 2020, equation 7, in sigma
    assert samplers.ancestral_split(0.03, 0.0) == (0, 0)


def test_euler_ancestral_draws_the_data_and_no_noise_for_its_last_step() -> None:
    generator, draws = torch.Generator().manual_seed(1), []
    sigmas = karras(TABLE, 100)

    def noise() -> Tensor:
        draws.append(None)
        return torch.randn(40_000, generator=generator, dtype=torch.float64)

    x = samplers.euler_ancestral(ideal, start(40_000), sigmas, noise=noise)
    assert len(draws) == 99
    assert x.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert x.std().item() == pytest.approx(SPREAD, rel=0.05)


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_denoiser_turns_a_perfect_network_into_the_ideal(prediction: str) -> None:
    abar = alphas_cumprod("scaled_linear")

    def network(x_t: Tensor, t: Tensor, context: Tensor) -> Tensor:
        at = abar[t.round().long()]
        sigma = ((1 - at) / at).sqrt()
        x0 = MEAN + (x_t / at.sqrt() - MEAN) * SPREAD**2 / (SPREAD**2 + sigma**2)
        return target(prediction, x0, (x_t - at.sqrt() * x0) / (1 - at).sqrt(), abar=at)

    x = start(8)
    for step in (0, 400, 999):
        sigma = TABLE.log_sigmas[step].exp().item()
        found = Denoiser(network, TABLE, prediction)(x, sigma, torch.empty(0))
        assert torch.allclose(found, ideal(x, sigma), atol=1e-9)


def test_guidance_factors_spell_the_textbook_form() -> None:
    d_u, d_1, d_2 = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first, (one, two) = cfg_factors([1.0, -0.4], 7.5)
    textbook = d_u + 7.5 * (d_1 - d_u) - 0.4 * 7.5 * (d_2 - d_u)
    assert torch.allclose(first * d_u + one * d_1 + two * d_2, textbook)
    assert cfg_factors([1.0], 1.0) == (0, [1.0])
