"""Learning-rate schedules over images."""

import math

from enogu.train.config import Phase


def rate_factor(phase: Phase, done: int, total: int) -> float:
    """Return the share of the peak rate after `done` of a phase's `total` images."""
    warm = min(1.0, done / phase.warmup_images) if phase.warmup_images else 1.0
    share = min(1.0, done / total)
    if phase.schedule == "cosine":
        return warm * (phase.final + (1 - phase.final) * 0.5 * (1 + math.cos(math.pi * share)))
    if phase.schedule == "linear":
        return warm * (phase.final + (1 - phase.final) * (1 - share))
    return warm
