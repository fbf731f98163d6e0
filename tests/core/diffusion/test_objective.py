"""Objectives: their algebra, the weight table of the literature, and the schedule they rest on."""

import pytest
import torch

from enogu.core.diffusion.noise import noise, noise_batch
from enogu.core.diffusion.objective import loss_weight, noised, snr, target, x0_from
from enogu.core.diffusion.schedule import alphas_cumprod

ABAR = alphas_cumprod("scaled_linear")


def _batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    x0, eps = torch.randn(2, 5, 4, 3, 3, generator=generator, dtype=torch.float64)
    return x0, eps, ABAR[torch.tensor([0, 50, 354, 700, 999])]


def test_scaled_linear_has_stable_diffusions_ends() -> None:
    sigma = ((1 - ABAR) / ABAR).sqrt()
    assert ABAR.dtype == torch.float64
    assert ABAR.shape == (1000,)
    assert sigma[0].item() == pytest.approx(0.0291672, abs=5e-8)
    assert sigma[-1].item() == pytest.approx(14.6146, abs=5e-5)
    assert ABAR[-1].sqrt().item() == pytest.approx(0.0683, abs=5e-5)


def test_linear_is_the_one_of_ddpm() -> None:
    abar = alphas_cumprod("linear")
    assert abar[0].item() == pytest.approx(1 - 1e-4)
    assert abar[-1].item() == pytest.approx(4.036e-5, rel=1e-3)  # e^-10.1, Ho et al. 2020


def test_zero_terminal_snr_ends_at_zero_and_divides_the_snr_as_tabled() -> None:
    rescaled = alphas_cumprod("scaled_linear", zero_terminal_snr=True)
    assert rescaled[-1] == 0
    assert rescaled[0] == pytest.approx(ABAR[0].item(), rel=1e-12)
    ratio = snr(rescaled) / snr(ABAR)
    expected = {300: 0.90, 500: 0.83, 700: 0.65, 800: 0.47, 900: 0.21, 950: 0.07, 999: 0.0}
    assert {t: round(ratio[t].item(), 2) for t in expected} == expected
    assert (1 / snr(rescaled)[998]).sqrt().item() == pytest.approx(2254.2, abs=0.1)


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_x0_comes_back_from_a_perfect_prediction(prediction: str) -> None:
    x0, eps, abar = _batch()
    x_t = noised(x0, eps, abar)
    assert torch.allclose(x0_from(prediction, target(prediction, x0, eps, abar=abar), x_t, abar=abar), x0, atol=1e-9)


@pytest.mark.parametrize("scheme", ["min_snr", "soft_min_snr", "debiased"])
def test_weighted_eps_and_v_losses_of_one_model_are_equal(scheme: str) -> None:
    x0, eps, abar = _batch()
    x_t = noised(x0, eps, abar)
    guess = x0 + 0.1 * torch.randn(x0.shape, generator=torch.Generator().manual_seed(0), dtype=x0.dtype)
    column = abar.view(-1, 1, 1, 1)
    said_eps = (x_t - column.sqrt() * guess) / (1 - column).sqrt()
    said = {"eps": said_eps, "v": target("v", guess, said_eps, abar=abar)}
    losses = []
    for prediction in ("eps", "v"):
        error = (said[prediction] - target(prediction, x0, eps, abar=abar)).square().mean((1, 2, 3))
        losses.append(loss_weight(scheme, prediction, snr(abar), gamma=5.0) * error)
    assert torch.allclose(losses[0], losses[1], rtol=1e-9)


def test_weights_are_those_of_the_papers() -> None:
    ratio = torch.tensor([0.01, 1.0, 5.0, 400.0], dtype=torch.float64)
    assert torch.allclose(loss_weight("min_snr", "eps", ratio, gamma=5.0), ratio.clamp(max=5) / ratio)
    assert torch.allclose(loss_weight("soft_min_snr", "eps", ratio, gamma=5.0), 5 / (ratio + 5))
    assert torch.allclose(loss_weight("debiased", "eps", ratio, gamma=5.0), ratio.rsqrt())
    assert torch.allclose(loss_weight("debiased", "v", ratio, gamma=5.0), ratio.sqrt() / (ratio + 1))
    assert torch.equal(loss_weight("none", "v", ratio, gamma=5.0), torch.ones(4, dtype=torch.float64))


def test_min_snr_v_uses_the_rescaled_schedule() -> None:
    stale, right = snr(ABAR), snr(alphas_cumprod("scaled_linear", zero_terminal_snr=True))
    assert loss_weight("min_snr", "v", stale)[900].item() == pytest.approx(0.0142, abs=5e-5)
    assert loss_weight("min_snr", "v", right)[900].item() == pytest.approx(0.0030, abs=5e-5)
    assert loss_weight("min_snr", "v", right)[999] == 0


def test_noise_depends_on_its_key_alone() -> None:
    shape = (4, 8, 8)
    batch = noise_batch([7, 1 << 62, 9], shape)
    assert torch.equal(batch[1], noise(1 << 62, shape))
    assert batch.dtype == torch.float32
    assert not torch.equal(batch[0], batch[2])
    many = noise(11, (100_000,))
    assert abs(many.mean().item()) < 0.01
    assert abs(many.std().item() - 1) < 0.01
