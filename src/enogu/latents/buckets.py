"""Aspect-ratio buckets: few shapes of nearly equal area, so that every batch has one shape and little is cut off.

After NovelAI's aspect-ratio bucketing (2022), with the logarithm of the ratio instead of the ratio itself, so that
portrait and landscape are treated alike (as naifu does).
"""

from dataclasses import dataclass
from functools import cached_property
from math import isqrt

import numpy as np

BLOCK = 1 << 16  # pictures per distance matrix
NEVER = np.inf


@dataclass(frozen=True, kw_only=True)
class Buckets:
    """The table of shapes for one area, and the choice among them."""

    area: int  # pixels; no shape has more
    step: int = 64  # sides are multiples of it
    min_side: int = 0  # 0: half the side of the square
    max_side: int = 0  # 0: twice the side of the square
    upscale: bool = True  # if not, a picture goes where it need not be enlarged, however small that is

    @property
    def side(self) -> int:
        """Return the side of the square bucket."""
        return min(isqrt(self.area), self._largest) // self.step * self.step

    @property
    def _smallest(self) -> int:
        return self.min_side or max(self.step, isqrt(self.area) // 2 // self.step * self.step)

    @property
    def _largest(self) -> int:
        return self.max_side or isqrt(self.area) * 2 // self.step * self.step

    @cached_property
    def shapes(self) -> np.ndarray:
        """Return the (K, 2) shapes, width and height, from tall to wide; of equal ratios the larger first."""
        found = {(self.side, self.side)}
        first = -(-self._smallest // self.step) * self.step
        for width in range(first, self._largest + 1, self.step):
            height = min(self._largest, self.area // width) // self.step * self.step
            if height >= self._smallest:
                found |= {(width, height), (height, width)}
        return np.array(sorted(found, key=lambda shape: (shape[0] / shape[1], -shape[0])), np.int32)

    def assign(self, widths: np.ndarray, heights: np.ndarray) -> np.ndarray:
        """Return the (N, 2) bucket of each picture: the nearest ratio; (0, 0) for one that fits none."""
        blocks = [
            self._nearest(widths[start : start + BLOCK], heights[start : start + BLOCK])
            for start in range(0, len(widths), BLOCK)
        ]
        return np.concatenate(blocks) if blocks else np.empty((0, 2), np.int32)

    def choose(self, width: int, height: int) -> tuple[int, int]:
        """Return the bucket of one picture."""
        (shape,) = self.assign(np.array([width]), np.array([height]))
        return int(shape[0]), int(shape[1])

    def _nearest(self, widths: np.ndarray, heights: np.ndarray) -> np.ndarray:
        known = (widths > 0) & (heights > 0)
        ratios = np.log(np.where(known, widths, 1) / np.where(known, heights, 1))
        distances = np.abs(ratios[:, None] - np.log(self.shapes[:, 0] / self.shapes[:, 1])).round(9)
        if not self.upscale:
            covered = (widths[:, None] >= self.shapes[:, 0]) & (heights[:, None] >= self.shapes[:, 1])
            distances[~covered] = NEVER
        chosen: np.ndarray = self.shapes[distances.argmin(axis=1)]
        if not self.upscale:
            alone = ~covered.any(axis=1)
            chosen[alone] = self._own(widths[alone], heights[alone])
        chosen[~known] = 0
        return chosen

    def _own(self, widths: np.ndarray, heights: np.ndarray) -> np.ndarray:
        """Return the size of small pictures cut to multiples of the step (as kohya's bucket_no_upscale)."""
        own: np.ndarray = np.minimum(np.stack([widths, heights], axis=1), self._largest) // self.step * self.step
        own[(own < self._smallest).any(axis=1)] = 0
        return own


def kept(width: int, height: int, shape: tuple[int, int]) -> float:
    """Return the share of a picture's pixels that is left when it covers a shape."""
    scale = max(shape[0] / width, shape[1] / height)
    return min(1.0, shape[0] * shape[1] / (width * height * scale**2))
