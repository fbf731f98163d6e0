"""Means with bootstrap intervals over prompts: the seeds of one prompt are drawn together.

Pictures of one prompt resemble each other, so prompts, not pictures, are what is resampled (Davison and
Hinkley 1997, section 3.8: with grouped data resample the groups and keep what is inside).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES = 10_000
BLOCK = 1 << 22  # values gathered at once

Cells = NDArray[np.float64]  # (prompts, seeds)


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its 95 % percentile interval."""

    mean: float
    low: float
    high: float


def interval(cells: Cells, rng: np.random.Generator, *, resamples: int = RESAMPLES) -> Interval:
    """Return the mean over all cells with its interval; a paired difference is the interval of differences.

    Resamples prompts, or the seeds where there is only one prompt.
    """
    units = cells.mean(axis=1) if len(cells) > 1 else cells[0]
    block = max(1, BLOCK // len(units))
    means = [
        units[rng.integers(0, len(units), (min(block, resamples - done), len(units)))].mean(axis=1)
        for done in range(0, resamples, block)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(cells.mean()), float(low), float(high))


def spread(cells: Cells) -> float:
    """Return the standard deviation, over seeds, of the mean over prompts (0 for a single seed)."""
    return float(cells.mean(axis=0).std(ddof=1)) if cells.shape[1] > 1 else 0.0
