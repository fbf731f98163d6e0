"""Aspect-ratio buckets: few shapes of nearly equal area, so that every batch has one shape and little is cut off.

Three tables. `novelai`: all shapes on the grid that cannot grow on one side, nearest by the logarithm of the ratio, so
that portrait and landscape are treated alike (NovelAI's aspect-ratio bucketing, 2022). `kohya`: the same shapes with
sides of 256 to 1024, nearest by the ratio itself, and without upscaling a shape of its own for each picture
(sd-scripts). `everydream2`: that trainer's hand-picked shapes, nearest by the ratio itself.
"""

import tomllib
from dataclasses import dataclass
from functools import cache, cached_property
from math import isqrt
from pathlib import Path

import numpy as np

from enogu.core.records.errors import Refused

TABLES = ("everydream2", "kohya", "novelai")
BLOCK = 1 << 16  # pictures per distance matrix
NEVER = np.inf
KOHYA_SIDES = (256, 1024)  # min_bucket_reso and max_bucket_reso unless told otherwise
PICKED = Path(__file__).with_name("data") / "everydream2.toml"


@dataclass(frozen=True, kw_only=True)
class Buckets:
    """The table of shapes for one area, and the choice among them."""

    area: int  # pixels; no shape has more
    step: int = 64  # sides are multiples of it
    min_side: int = 0  # 0: half the side of the square; kohya: 256
    max_side: int = 0  # 0: twice the side of the square; kohya: 1024
    upscale: bool = True  # if not, a picture goes where it need not be enlarged, however small that is
    table: str = "novelai"

    @property
    def side(self) -> int:
        """Return the side of the square bucket; kohya's is not bound by max_side."""
        longest = isqrt(self.area) if self.table == "kohya" else min(isqrt(self.area), self._largest)
        return longest // self.step * self.step

    @property
    def _smallest(self) -> int:
        return self.min_side or (
            KOHYA_SIDES[0] if self.table == "kohya" else max(self.step, isqrt(self.area) // 2 // self.step * self.step)
        )

    @property
    def _largest(self) -> int:
        return self.max_side or (
            KOHYA_SIDES[1] if self.table == "kohya" else isqrt(self.area) * 2 // self.step * self.step
        )

    @cached_property
    def shapes(self) -> np.ndarray:
        """Return the (K, 2) shapes, width and height, in the order in which the first of equals is taken."""
        if self.table == "kohya":
            return np.array(sorted(self._grown()), np.int32)
        found = _picked(isqrt(self.area) // 64 * 64) if self.table == "everydream2" else self._grown()
        return np.array(sorted(found, key=lambda shape: (shape[0] / shape[1], -shape[0])), np.int32)

    def _grown(self) -> set[tuple[int, int]]:
        found = {(self.side, self.side)}
        first = -(-self._smallest // self.step) * self.step
        for width in range(first, self._largest + 1, self.step):
            height = min(self._largest, self.area // width) // self.step * self.step
            if height >= self._smallest:
                found |= {(width, height), (height, width)}
        return found

    def assign(self, widths: np.ndarray, heights: np.ndarray) -> np.ndarray:
        """Return the (N, 2) bucket of each picture: the nearest ratio; (0, 0) for one that fits none."""
        chosen = np.zeros((len(widths), 2), np.int32)
        for start in range(0, len(widths), BLOCK):
            block = slice(start, start + BLOCK)
            sides = np.stack([widths[block], heights[block]], axis=1).astype(np.int64)
            known = (sides > 0).all(axis=1)
            chosen[block][known] = self._choice(sides[known])
        return chosen

    def choose(self, width: int, height: int) -> tuple[int, int]:
        """Return the bucket of one picture."""
        (shape,) = self.assign(np.array([width]), np.array([height]))
        return int(shape[0]), int(shape[1])

    def _choice(self, sides: np.ndarray) -> np.ndarray:
        if self.table == "kohya" and not self.upscale:
            return self._shrunk(sides)
        distances = self._distances(sides)
        if self.upscale:
            chosen: np.ndarray = self.shapes[distances.argmin(axis=1)]
            return chosen
        covered: np.ndarray = np.logical_and.reduce(sides[:, None] >= self.shapes, axis=2)
        distances[~covered] = NEVER
        chosen = self.shapes[distances.argmin(axis=1)]
        alone = ~covered.any(axis=1)
        chosen[alone] = self._own(sides[alone])
        return chosen

    def _distances(self, sides: np.ndarray) -> np.ndarray:
        """Return the (N, K) differences between the ratios of pictures and shapes."""
        ratios, of_shapes = sides[:, 0] / sides[:, 1], self.shapes[:, 0] / self.shapes[:, 1]
        if self.table != "novelai":
            by_ratio: np.ndarray = np.abs(of_shapes - ratios[:, None])
            by_ratio[(sides[:, None] == self.shapes).all(axis=2)] = -1  # a picture of a shape's own size
            return by_ratio
        apart: np.ndarray = np.abs(np.log(ratios)[:, None] - np.log(of_shapes))
        return apart.round(9)

    def _own(self, sides: np.ndarray) -> np.ndarray:
        """Return the size of small pictures cut to multiples of the step."""
        own: np.ndarray = np.minimum(sides, self._largest) // self.step * self.step
        own[(own < self._smallest).any(axis=1)] = 0
        return own

    def _shrunk(self, sides: np.ndarray) -> np.ndarray:
        """Return shapes as kohya's bucket_no_upscale makes them: one side on the grid, the other cut down to it."""
        ratios = sides[:, 0] / sides[:, 1]
        across, down = np.sqrt(self.area * ratios), self.area / np.sqrt(self.area * ratios)
        by_width, by_height = self._floor(across + 0.5), self._floor(down + 0.5)
        with np.errstate(divide="ignore", invalid="ignore"):
            error_by_width = np.abs(by_width / self._floor(by_width / ratios + 0.5) - ratios)
            error_by_height = np.abs(self._floor(by_height * ratios + 0.5) / by_height - ratios)
        resized = np.where(
            (error_by_width < error_by_height)[:, None],
            np.stack([by_width, by_width / ratios + 0.5], axis=1),
            np.stack([by_height * ratios + 0.5, by_height], axis=1),
        )
        large = sides.prod(axis=1) > self.area
        own = self._floor(np.where(large[:, None], resized, sides))
        own[(own == 0).any(axis=1)] = 0
        return own

    def _floor(self, lengths: np.ndarray) -> np.ndarray:
        return lengths.astype(np.int64) // self.step * self.step


def kept(width: int, height: int, shape: tuple[int, int]) -> float:
    """Return the share of a picture's pixels that is left when it covers a shape."""
    scale = max(shape[0] / width, shape[1] / height)
    return min(1.0, shape[0] * shape[1] / (width * height * scale**2))


def picked_sides() -> tuple[int, ...]:
    """Return the squares that EveryDream2 has shapes for."""
    return tuple(_lists())


def _picked(side: int) -> set[tuple[int, int]]:
    if side not in _lists():
        sides = ", ".join(map(str, _lists()))
        raise Refused(f'table = "everydream2" has no shapes for area {side}²; its sides are {sides}')
    return {shape for width, height in _lists()[side] for shape in ((width, height), (height, width))}


@cache
def _lists() -> dict[int, list[list[int]]]:
    shapes = tomllib.loads(PICKED.read_text("utf-8"))["shapes"]
    return {int(side): shapes[side] for side in shapes}
