"""Running statistics of a tensor's values."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Statistic:
    """Sums over values seen so far; what is not finite is only counted."""

    count: int = 0
    odd: int = 0
    total: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, values: Tensor) -> None:
        """See more values."""
        wide = values.reshape(-1).float()
        self.count += len(wide)
        total = float(wide.sum())
        if not math.isfinite(total):
            finite = wide[wide.isfinite()]
            self.odd += len(wide) - len(finite)
            wide, total = finite, float(finite.double().sum())
        if len(wide):
            low, high = map(float, torch.aminmax(wide))
            self.total, self.squares = self.total + total, self.squares + float(wide @ wide)
            self.low, self.high = min(self.low, low), max(self.high, high)

    def __add__(self, other: "Statistic") -> "Statistic":
        """Return the statistic of both."""
        return Statistic(
            self.count + other.count,
            self.odd + other.odd,
            self.total + other.total,
            self.squares + other.squares,
            min(self.low, other.low),
            max(self.high, other.high),
        )

    def summary(self) -> dict[str, float] | None:
        """Return mean, standard deviation and range, if anything finite was seen."""
        count = self.count - self.odd
        if not count:
            return None
        mean = self.total / count
        spread = math.sqrt(max(self.squares / count - mean * mean, 0.0))
        return {"mean": mean, "std": spread, "min": self.low, "max": self.high}
