"""Where a run stands."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Position:
    """The next batch to take, and what was done."""

    phase: int = 0
    epoch: int = 0
    number: int = 0  # of the next batch within the epoch
    phase_images: int = 0
    images: int = 0
    updates: int = 0
