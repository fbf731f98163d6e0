"""Hair: the mass behind the head, tails and buns, and the fringe in front. Units are head radii."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from enogu.mini.pen import Pen, Points, curve, ellipse, mirror
from enogu.mini.style import mix, scaled
from enogu.mini.traits import RGB, Figure, choice

GATHERED = ("twintails", "ponytail")
RIBBON: RGB = (240, 240, 250)


def behind(pen: Pen, figure: Figure, rng: Generator) -> None:
    """Draw what hangs behind head and body."""
    rgb = choice("hair_colour", figure.hair_colour).rgb
    length = choice("hair_length", figure.hair_length)
    if figure.hair_style == "ponytail":
        _tail(pen, rgb, length.tail_end, side=_side(rng))
    gathered = choice("hair_length", "short_hair") if figure.hair_style in GATHERED else length
    _mass(pen, rgb, gathered.end, rng=rng)
    if figure.hair_style == "twintails":
        for side in (-1.0, 1.0):
            _twintail(pen, rgb, length.tail_end + rng.uniform(-0.05, 0.05), side=side)
    if figure.hair_style == "double_bun":
        for side in (-1.0, 1.0):
            _bun(pen, rgb, side)


def front(pen: Pen, figure: Figure, rng: Generator) -> None:
    """Draw the cap of hair with its fringe, side locks and shine."""
    rgb = choice("hair_colour", figure.hair_colour).rgb
    lock = 0.22 if figure.boy else (0.5 if figure.hair_length == "short_hair" else 0.74)
    cap = _cap(rng, boy=figure.boy, lock=lock)
    shade = curve((-1.2, 0.1), (-0.5, 0.0), (0.2, -0.02), (1.2, -0.2), (1.2, 0.9), (-1.2, 0.9))
    pen.shape(cap, rgb, shadow=shade)
    _shine(pen, rgb)
    for x in rng.uniform(-0.5, 0.5, 2):
        pen.outline(curve((x * 0.6, -0.98), (x * 0.9, -0.6), (x, -0.3), closed=False), rgb, width=0.6, closed=False)


def _mass(pen: Pen, rgb: RGB, end: float, *, rng: Generator) -> None:
    flare = 0.98 + 0.12 * min(end, 1.4)
    tips = [(x * flare, end + 0.1 * (i % 2) + rng.uniform(-0.05, 0.05)) for i, x in enumerate(np.linspace(1, -1, 7))]
    middle = end * 0.5
    outline = curve(
        (0, -1.12), (0.72, -0.9), (1.04, -0.2), (1.02 + 0.06 * middle, middle), *tips,
        (-1.02 - 0.06 * middle, middle), (-1.04, -0.2), (-0.72, -0.9),
    )  # fmt: skip
    pen.shape(outline, scaled(rgb, 0.86), shadow=ellipse((0, middle + 0.25), (0.84, 0.6 + middle)))


def _twintail(pen: Pen, rgb: RGB, end: float, *, side: float) -> None:
    tail = curve(
        (0.86, -0.62), (1.35, -0.6), (1.62, 0.0), (1.6, end * 0.55), (1.38, end), (1.3, end * 0.75),
        (1.16, end * 0.9), (1.16, end * 0.45), (1.05, -0.1), (0.86, -0.35),
    )  # fmt: skip
    shade = curve((1.0, -0.3), (1.28, 0.0), (1.36, end * 0.6), (1.3, end + 0.2), (0.9, end))
    _sided(pen, tail, shade, rgb=rgb, side=side)
    pen.shape(ellipse((side * 0.93, -0.5), (0.13, 0.2), side * 0.5), RIBBON)


def _tail(pen: Pen, rgb: RGB, end: float, *, side: float) -> None:
    tail = curve(
        (0.2, -1.0), (0.62, -1.5), (1.2, -1.36), (1.6, -0.7), (1.66, end * 0.4), (1.42, end), (1.34, end * 0.7),
        (1.2, end * 0.8), (1.24, end * 0.2), (1.02, -0.5), (0.6, -0.8),
    )  # fmt: skip
    shade = curve((0.6, -1.0), (1.1, -0.9), (1.4, -0.2), (1.4, end), (1.0, end), (0.7, -0.5))
    _sided(pen, tail, shade, rgb=rgb, side=side)
    pen.shape(ellipse((side * 0.62, -1.12), (0.2, 0.13), side * 0.8), RIBBON)


def _bun(pen: Pen, rgb: RGB, side: float) -> None:
    x, y = side * 0.88, -0.92
    pen.shape(ellipse((x, y), (0.4, 0.4)), rgb, shadow=ellipse((x - side * 0.16, y + 0.24), (0.42, 0.3)))
    swirl = curve((x - 0.18, y), (x, y - 0.2), (x + 0.18, y), (x, y + 0.14), closed=False)
    pen.outline(swirl, rgb, width=0.6, closed=False)


def _sided(pen: Pen, shape: Points, shade: Points, *, rgb: RGB, side: float) -> None:
    if side < 0:
        shape, shade = mirror(shape), mirror(shade)
    pen.shape(shape, rgb, shadow=shade)


def _cap(rng: Generator, *, boy: bool, lock: float) -> Points:
    teeth = 6 if boy else 5
    xs = np.linspace(0.72, -0.72, 2 * teeth - 1)
    depth = -0.02 if boy else -0.06
    fringe = [
        (x + rng.uniform(-0.04, 0.04), (depth if i % 2 == 0 else -0.4) - 0.1 * x * x + rng.uniform(-0.07, 0.07))
        for i, x in enumerate(xs)
    ]
    crown = [(-0.72, -0.92), (-0.38, -1.1), (0.0, -1.16), (0.38, -1.1), (0.72, -0.92)]
    if boy:
        lifts = rng.uniform(0.1, 0.22, 5)
        crown = [p for (x, y), up in zip(crown, lifts, strict=True) for p in ((x - 0.1, y + 0.02), (x + 0.08, y - up))]
    right = [(1.03, -0.4), (1.07, 0.1), (0.92, lock), (0.84, lock - 0.3), (0.86, -0.15)]
    left = [(-x, y) for x, y in reversed(right)]
    return curve(*left, *crown, *right, *fringe)


def _shine(pen: Pen, rgb: RGB) -> None:
    if pen.style.shading == "flat":
        return
    light = mix(rgb, (255, 255, 255), 0.5)
    for x0, x1 in ((-0.72, -0.22), (-0.12, 0.3)):
        middle, start, end = (x0 + x1) / 2, _brink(x0), _brink(x1)
        high = _brink(middle)
        band = curve((x0, start), (middle, high - 0.06), (x1, end), (middle, high + 0.12))
        pen.fill(band, light)


def _brink(x: float) -> float:
    """The height of the shine on the round of the head."""
    return -0.78 + 0.22 * x * x


def _side(rng: Generator) -> float:
    return 1.0 if rng.random() < 0.5 else -1.0
