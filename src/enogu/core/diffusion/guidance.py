"""Classifier-free guidance as a weighted sum of denoised latents (Ho and Salimans 2022, equation 6)."""

from collections.abc import Sequence


def cfg_factors(parts: Sequence[float], scale: float) -> tuple[float, list[float]]:
    """Return the factors of the unconditional x0 and of each part's x0.

    They spell D_u + sum_k w_k * scale * (D_k - D_u), the composition of Liu et al. 2022 (A1111's AND);
    where the first factor is 0, as at scale 1 for one part, the unconditional pass is not needed.
    """
    factors = [weight * scale for weight in parts]
    return 1 - sum(factors), factors
