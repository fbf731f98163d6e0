"""A pen over a supersampled canvas: smooth shapes in character units, filled, shaded and outlined."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from enogu.mini.style import Style
from enogu.mini.traits import RGB

Canvas = NDArray[np.uint8]
Points = NDArray[np.float64]
Spot = tuple[float, float]

SHIFT = 4  # sub-pixel bits of cv2's fixed-point coordinates
STEPS = 6  # curve samples between two control points


@dataclass(frozen=True, kw_only=True)
class Pen:
    """Where shapes land (`origin`, `scale` in pixels per unit, `turn` in radians) and in what style."""

    canvas: Canvas
    mask: Canvas | None
    style: Style
    origin: tuple[float, float]
    scale: float
    turn: float = 0.0

    def moved(self, x: float, y: float, turn: float = 0.0) -> Pen:
        """The same pen with its origin at (x, y) of this one and turned further."""
        (px, py), *_ = self.place(np.array([[x, y]]))
        return replace(self, origin=(px, py), turn=self.turn + turn)

    def place(self, points: Points) -> Points:
        """Character units to canvas pixels."""
        cos, sin = math.cos(self.turn) * self.scale, math.sin(self.turn) * self.scale
        turned: Points = points @ np.array(((cos, sin), (-sin, cos)))
        return turned + self.origin

    def fill(self, points: Points, rgb: RGB) -> None:
        """Fill a closed shape with a toned colour."""
        fixed = _fixed(self.place(points))
        cv2.fillPoly(self.canvas, [fixed], self.style.tone(rgb), cv2.LINE_8, SHIFT)
        self._cover(fixed)

    def outline(self, points: Points, rgb: RGB = (0, 0, 0), *, width: float = 1.0, closed: bool = True) -> None:
        """Draw the line of a shape; `rgb` is what the shape was filled with, for tinted lines."""
        self.stroke(points, self.style.ink(rgb), width=width * self.style.line, closed=closed)

    def stroke(self, points: Points, rgb: RGB, *, width: float, closed: bool = False) -> None:
        """Draw a line of `width` hundredths of a unit in exactly this colour."""
        pixels = max(1, round(width * self.scale / 100))
        fixed = _fixed(self.place(points))
        cv2.polylines(self.canvas, [fixed], closed, rgb, pixels, cv2.LINE_8, SHIFT)  # LINE_AA: 6 times the cost
        if self.mask is not None:
            cv2.polylines(self.mask, [fixed], closed, 255, pixels, cv2.LINE_8, SHIFT)

    def shape(self, points: Points, rgb: RGB, *, shadow: Points | None = None, width: float = 1.0) -> None:
        """Fill a shape, shade it as the artist does (`shadow` is the dark side of a cel) and outline it."""
        if self.style.shading == "soft":
            self._gradient(points, rgb)
        else:
            self.fill(points, rgb)
        if shadow is not None and self.style.shading == "cel":
            self.inside(points, shadow, self.style.shadow(rgb))
        self.outline(points, rgb, width=width)

    def inside(self, points: Points, patch: Points, rgb: RGB) -> None:
        """Paint the part of `patch` that lies inside the shape."""
        placed = self.place(points)
        window = _window(placed, self.canvas)
        if window is None:
            return
        area, corner = window
        region = self.canvas[area]
        both = _mask(region, placed - corner) & _mask(region, self.place(patch) - corner)
        cv2.copyTo(solid(region, self.style.tone(rgb)), both, region)

    def _gradient(self, points: Points, rgb: RGB) -> None:
        placed = self.place(points)
        window = _window(placed, self.canvas)
        if window is None:
            return
        area, corner = window
        region = self.canvas[area]
        light, dark = self.style.tone(self.style.light(rgb)), self.style.tone(self.style.dusk(rgb))
        cv2.copyTo(ramp(region, light, dark), _mask(region, placed - corner), region)
        self._cover(_fixed(placed))

    def _cover(self, fixed: NDArray[np.int32]) -> None:
        if self.mask is not None:
            cv2.fillPoly(self.mask, [fixed], 255, cv2.LINE_8, SHIFT)


def solid(canvas: Canvas, rgb: RGB) -> Canvas:
    """A canvas of the same size in one colour."""
    plain = np.empty_like(canvas)
    cv2.rectangle(plain, (0, 0), (canvas.shape[1], canvas.shape[0]), rgb, cv2.FILLED)
    return plain


def ramp(canvas: Canvas, *stops: RGB) -> Canvas:
    """A canvas of the same size that runs through the colours from top to bottom."""
    height, width = canvas.shape[:2]
    rows = np.linspace(0, len(stops) - 1, height)
    column = np.stack([np.interp(rows, range(len(stops)), channel) for channel in zip(*stops, strict=True)], 1)
    return cv2.repeat(column.astype(np.uint8)[:, None], 1, width)  # type: ignore[return-value]


@lru_cache(maxsize=1024)
def curve(*points: Spot, closed: bool = True) -> Points:
    """A Catmull-Rom curve through the points (Catmull and Rom, 1974)."""
    knots = np.asarray(points, np.float64)
    last = len(knots)
    order = np.arange(last if closed else last - 1)[:, None] + np.arange(-1, 3)
    order = order % last if closed else order.clip(0, last - 1)
    sampled = np.einsum("sk,nkd->nsd", _basis(), knots[order]).reshape(-1, 2)
    return _frozen(sampled if closed else np.concatenate([sampled, knots[-1:]]))


@lru_cache(maxsize=1024)
def ellipse(middle: Spot, radii: Spot, turn: float = 0.0) -> Points:
    """A closed ellipse, turned by `turn` radians."""
    cos, sin = math.cos(turn), math.sin(turn)
    return _frozen((_circle() * radii) @ np.array(((cos, sin), (-sin, cos))) + middle)


@lru_cache(maxsize=1024)
def poly(*points: Spot) -> Points:
    """Straight-edged points."""
    return _frozen(np.asarray(points, np.float64))


def mirror(points: Points) -> Points:
    """The shape on the other side of the face."""
    return points * (-1.0, 1.0)


@cache
def _basis() -> Points:
    t = np.arange(STEPS) / STEPS
    powers = np.stack([np.ones_like(t), t, t**2, t**3], 1)
    return powers @ (np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2)


@cache
def _circle() -> Points:
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def _frozen(points: Points) -> Points:
    points.setflags(write=False)
    return points


def _fixed(pixels: Points) -> NDArray[np.int32]:
    return (pixels * (1 << SHIFT)).astype(np.int32)


def _mask(region: Canvas, pixels: Points) -> Canvas:
    mask = np.zeros(region.shape[:2], np.uint8)
    cv2.fillPoly(mask, [_fixed(pixels)], 255, cv2.LINE_8, SHIFT)
    return mask


def _window(placed: Points, canvas: Canvas) -> tuple[tuple[slice, slice], Points] | None:
    height, width = canvas.shape[:2]
    (left, top), (right, bottom) = placed.min(0).tolist(), placed.max(0).tolist()
    x0, y0 = max(0, math.floor(left)), max(0, math.floor(top))
    x1, y1 = min(width, math.ceil(right)), min(height, math.ceil(bottom))
    if x0 >= x1 or y0 >= y1:
        return None
    return (slice(y0, y1), slice(x0, x1)), np.array([x0, y0], np.float64)
