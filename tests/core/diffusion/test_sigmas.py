"""Sigma schedules against published figures, and the table between timesteps and sigmas."""

import pytest
import torch

from enogu.core.diffusion import sigmas
from enogu.core.diffusion.schedule import NoiseTable, alphas_cumprod

TABLE = NoiseTable(alphas_cumprod("scaled_linear"))

# What A1111 1.10.1 visits in 20 steps, to four decimals.
UNIFORM = """14.6146 10.7468 8.0815 6.2049 4.8557 3.8654 3.1238 2.5572 2.1157 1.7648
1.4806 1.2458 1.0481 0.8784 0.7297 0.5964 0.4736 0.3555 0.2322 0.0292 0"""
KARRAS = """14.6146 11.7254 9.3402 7.3836 5.7894 4.4998 3.4647 2.6408 1.9909 1.4832
1.0908 0.7909 0.5647 0.3964 0.2730 0.1842 0.1213 0.0779 0.0485 0.0292 0"""


@pytest.mark.parametrize(("schedule", "figures"), [(sigmas.uniform, UNIFORM), (sigmas.karras, KARRAS)])
def test_twenty_steps_are_those_of_a1111(schedule: sigmas.SigmaSchedule, figures: str) -> None:
    assert schedule(TABLE, 20).tolist() == pytest.approx([float(f) for f in figures.split()], abs=6e-5)


def test_exponential_is_even_in_log_sigma() -> None:
    values = sigmas.exponential(TABLE, 20)
    assert values[[0, 1, 2, 18, 19]].tolist() == pytest.approx([14.6146, 10.5363, 7.5961, 0.0405, 0.0292], abs=6e-5)


def test_sgm_uniform_leaves_out_the_last_of_one_more() -> None:
    longer = sigmas.uniform(TABLE, 9)
    assert torch.equal(sigmas.sgm_uniform(TABLE, 8), torch.cat([longer[:8], longer[-1:]]))


def test_simple_visits_table_entries() -> None:
    entries = TABLE.log_sigmas.exp()
    assert torch.equal(sigmas.simple(TABLE, 4), torch.cat([entries[[999, 749, 499, 249]], torch.zeros(1)]))


@pytest.mark.parametrize("name", ["uniform", "karras", "exponential", "sgm_uniform", "simple"])
@pytest.mark.parametrize("count", [1, 2, 7, 150])
def test_every_schedule_falls_from_sigma_max_to_zero(name: str, count: int) -> None:
    values = getattr(sigmas, name)(TABLE, count)
    assert values.dtype == torch.float64
    assert len(values) == count + 1
    assert values[0].item() == pytest.approx(TABLE.sigma_max)
    assert values[-1] == 0
    assert (values.diff() < 0).all()


def test_sigma_and_t_are_inverse_and_clamped() -> None:
    t = torch.linspace(0, 999, 777, dtype=torch.float64)
    assert torch.allclose(TABLE.sigma_to_t(TABLE.t_to_sigma(t)), t, atol=1e-8)
    assert TABLE.sigma_to_t(torch.tensor([1e-6, 1e6])).tolist() == [0, 999]
    between = TABLE.t_to_sigma(torch.tensor([499.5])).item()
    assert between**2 == pytest.approx(TABLE.log_sigmas[[499, 500]].exp().prod().item())


def test_zero_terminal_snr_has_the_sigma_of_the_uis() -> None:
    table = NoiseTable(alphas_cumprod("scaled_linear", zero_terminal_snr=True))
    assert table.sigma_max == pytest.approx(4518.8, abs=0.1)
