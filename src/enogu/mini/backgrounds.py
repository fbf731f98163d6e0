"""Backgrounds: one painter each, over the whole canvas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.random import Generator

from enogu.mini.pen import Pen, Points, curve, ellipse, poly, ramp, solid
from enogu.mini.traits import RGB

Painter = Callable[[Pen, float, Generator], None]


def paint(pen: Pen, kind: str, rng: Generator) -> None:
    """Paint a background with a pen whose unit is the canvas height and whose origin is the top left."""
    _PAINTERS[kind](pen, pen.canvas.shape[1] / pen.canvas.shape[0], rng)


def _ramp(pen: Pen, *stops: RGB) -> None:
    pen.canvas[:] = ramp(pen.canvas, *(pen.style.tone(stop) for stop in stops))


def _white(pen: Pen, aspect: float, rng: Generator) -> None:
    pen.canvas[:] = 255


def _blue_sky(pen: Pen, aspect: float, rng: Generator) -> None:
    _ramp(pen, (58, 152, 246), (150, 214, 255))
    for _ in range(4):
        _cloud(pen, rng.uniform(0, aspect), rng.uniform(0.08, 0.9), r=rng.uniform(0.08, 0.14))


def _cloud(pen: Pen, x: float, y: float, *, r: float) -> None:
    for dx, dy, size in ((-1.2, 0.2, 0.7), (0, 0, 1.0), (1.1, 0.15, 0.8), (0.3, 0.35, 0.9)):
        pen.fill(ellipse((x + dx * r, y + dy * r), (size * r, size * r * 0.75)), (255, 255, 255))


def _night_sky(pen: Pen, aspect: float, rng: Generator) -> None:
    _ramp(pen, (14, 18, 62), (44, 44, 120), (84, 66, 160))
    for _ in range(26):
        _star(pen, rng.uniform(0, aspect), rng.uniform(0, 1), r=rng.uniform(0.008, 0.026))
    x, y = rng.uniform(0.12, 0.3) * aspect, rng.uniform(0.1, 0.22)
    pen.fill(ellipse((x, y), (0.09, 0.09)), (255, 244, 190))
    pen.fill(ellipse((x + 0.045, y - 0.02), (0.075, 0.075)), (20, 22, 70))


def _star(pen: Pen, x: float, y: float, *, r: float) -> None:
    thin = r * 0.3
    pen.fill(
        poly((x, y - r), (x + thin, y - thin), (x + r, y), (x + thin, y + thin), (x, y + r), (x - thin, y + thin),
             (x - r, y), (x - thin, y - thin)),
        (255, 250, 210),
    )  # fmt: skip


def _sunset(pen: Pen, aspect: float, rng: Generator) -> None:
    _ramp(pen, (116, 62, 150), (244, 112, 96), (255, 196, 84), (255, 226, 130))
    x, y = rng.uniform(0.1, 0.9) * aspect, rng.uniform(0.5, 0.68)
    pen.fill(ellipse((x, y), (0.17, 0.17)), (255, 246, 200))
    for _ in range(3):
        cx, cy = rng.uniform(0, aspect), rng.uniform(0.1, 0.45)
        pen.fill(ellipse((cx, cy), (rng.uniform(0.2, 0.4), 0.022)), (255, 164, 130))
    hills = [(aspect * i / 6, 0.86 + rng.uniform(-0.05, 0.05)) for i in range(7)]
    pen.fill(poly((0, 1.1), *hills, (aspect, 1.1)), (92, 46, 96))


def _beach(pen: Pen, aspect: float, rng: Generator) -> None:
    _ramp(pen, (120, 204, 255), (206, 240, 255))
    horizon = rng.uniform(0.42, 0.5)
    _band(pen, aspect, horizon, rgb=(20, 140, 196))
    _band(pen, aspect, horizon + 0.1, rgb=(52, 186, 212))
    shore = [(aspect * i / 8, horizon + 0.24 + 0.025 * (-1) ** i) for i in range(9)]
    pen.fill(np.concatenate([curve(*shore, closed=False), poly((aspect, 1.1), (0, 1.1))]), (255, 255, 255))
    sand = [(x, y + 0.035) for x, y in shore]
    pen.fill(np.concatenate([curve(*sand, closed=False), poly((aspect, 1.1), (0, 1.1))]), (246, 220, 158))
    _cloud(pen, rng.uniform(0, aspect), rng.uniform(0.08, 0.25), r=0.08)
    x, y = rng.choice([0.1, 0.9]) * aspect, rng.uniform(0.84, 0.92)
    pen.fill(ellipse((x, y), (0.07, 0.05)), (255, 140, 110))


def _band(pen: Pen, aspect: float, top: float, *, rgb: RGB) -> None:
    pen.fill(poly((0, top), (aspect, top), (aspect, 1.1), (0, 1.1)), rgb)


def _forest(pen: Pen, aspect: float, rng: Generator) -> None:
    _ramp(pen, (196, 236, 176), (120, 200, 120))
    for depth, rgb in enumerate(((86, 168, 92), (40, 122, 66))):
        for x in np.linspace(0, aspect, 5) + rng.uniform(-0.1, 0.1, 5):
            _tree(pen, x, 0.06 + 0.12 * depth + rng.uniform(0, 0.1), rgb=rgb)
    _band(pen, aspect, 0.84, rgb=(96, 156, 64))


def _tree(pen: Pen, x: float, top: float, *, rgb: RGB) -> None:
    pen.fill(poly((x - 0.03, 0.6), (x + 0.03, 0.6), (x + 0.03, 0.92), (x - 0.03, 0.92)), (110, 74, 50))
    for i in range(3):
        y, half = top + 0.17 * i, 0.1 + 0.04 * i
        pen.fill(poly((x, y), (x + half, y + 0.26), (x - half, y + 0.26)), rgb)


def _cherry_blossoms(pen: Pen, aspect: float, rng: Generator) -> None:
    _ramp(pen, (255, 222, 234), (255, 190, 214))
    branch = curve((-0.05, 0.16), (0.3 * aspect, 0.12), (0.7 * aspect, 0.2), (1.05 * aspect, 0.08), closed=False)
    pen.stroke(branch, pen.style.tone((122, 76, 70)), width=3.2)
    for _ in range(14):
        _blossom(pen, rng.uniform(0, aspect), rng.uniform(0.02, 0.26), r=0.05)
    for _ in range(16):
        x, y = rng.uniform(0, aspect), rng.uniform(0.25, 1)
        pen.fill(ellipse((x, y), (0.024, 0.013), rng.uniform(0, 3.1)), (255, 134, 178))


def _blossom(pen: Pen, x: float, y: float, *, r: float) -> None:
    for angle in np.arange(5) * 2 * np.pi / 5:
        px, py = x + np.cos(angle) * r * 0.55, y + np.sin(angle) * r * 0.55
        pen.fill(ellipse((px, py), (r * 0.5, r * 0.5)), (255, 150, 190))
    pen.fill(ellipse((x, y), (r * 0.25, r * 0.25)), (255, 240, 170))


def _polka_dots(pen: Pen, aspect: float, rng: Generator) -> None:
    pen.canvas[:] = solid(pen.canvas, pen.style.tone((168, 232, 222)))
    step = rng.uniform(0.15, 0.18)
    shift = rng.uniform(0, step, 2)
    for row in range(-1, int(1 / step) + 2):
        for column in range(-1, int(aspect / step) + 2):
            x = (column + 0.5 * (row % 2)) * step + shift[0]
            pen.fill(_dot(x, row * step + shift[1], step * 0.27), (255, 255, 255))


def _dot(x: float, y: float, r: float) -> Points:
    return ellipse((x, y), (r, r))


_PAINTERS: Mapping[str, Painter] = MappingProxyType(
    {
        "white_background": _white,
        "blue_sky": _blue_sky,
        "night_sky": _night_sky,
        "sunset": _sunset,
        "beach": _beach,
        "forest": _forest,
        "cherry_blossoms": _cherry_blossoms,
        "polka_dots": _polka_dots,
    }
)
