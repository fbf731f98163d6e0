"""What a model is asked to predict, and how much each noise level counts: one table, exact conversions.

With x_t = sqrt(abar) x0 + sqrt(1 - abar) noise and SNR = abar / (1 - abar), an error in x0 shows as
|eps' - eps|^2 = SNR |x0' - x0|^2 and |v' - v|^2 = (SNR + 1) |x0' - x0|^2, so a weight on the x0 error has one
exact equal on either. `abar` holds one value per sample, (B,), and always comes from the final schedule.
"""

from typing import Literal

import torch
from torch import Tensor

Prediction = Literal["eps", "v"]
Weighting = Literal["none", "min_snr", "soft_min_snr", "debiased"]


def noised(x0: Tensor, noise: Tensor, abar: Tensor) -> Tensor:
    """Return x_t (Ho et al. 2020, equation 4)."""
    signal, spread = _scales(abar, x0)
    return signal * x0 + spread * noise


def target(prediction: Prediction, x0: Tensor, noise: Tensor, *, abar: Tensor) -> Tensor:
    """Return what the model should say: the noise, or v (Salimans and Ho 2022, appendix D)."""
    if prediction == "eps":
        return noise
    signal, spread = _scales(abar, x0)
    return signal * noise - spread * x0


def x0_from(prediction: Prediction, output: Tensor, x_t: Tensor, *, abar: Tensor) -> Tensor:
    """Return the x0 that a model's output implies; for eps it is undefined where abar is 0."""
    signal, spread = _scales(abar, x_t)
    if prediction == "eps":
        return (x_t - spread * output) / signal
    return signal * x_t - spread * output


def snr(abar: Tensor) -> Tensor:
    """Return the signal-to-noise ratio."""
    return abar / (1 - abar)


def loss_weight(scheme: Weighting, prediction: Prediction, snr: Tensor, *, gamma: float = 5.0) -> Tensor:
    """Return the factor on the squared error of the model's own prediction; "none" is 1 in either space.

    With zero terminal SNR every scheme but "none" weighs the last timestep 0 under v: that is exact, not a slip.
    """
    if scheme == "none":
        return torch.ones_like(snr)
    return _x0_weight(scheme, snr, gamma) / (snr + 1 if prediction == "v" else snr)


def _x0_weight(scheme: Weighting, snr: Tensor, gamma: float) -> Tensor:
    if scheme == "min_snr":  # Hang et al. 2023, section 3.4
        return snr.clamp(max=gamma)
    if scheme == "soft_min_snr":  # Crowson et al. 2024 (hourglass diffusion transformers), section 4.3
        return snr * gamma / (snr + gamma)
    return snr.sqrt()  # debiased: 1 / sqrt(SNR) on the eps error, Yu et al. 2023


def _scales(abar: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    column = abar.reshape((-1,) + (1,) * (like.ndim - 1))
    return column.sqrt().to(like), (1 - column).sqrt().to(like)
