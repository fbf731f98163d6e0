"""A small body: shirt, arms, skirt or trousers, legs and shoes."""

from __future__ import annotations

from numpy.random import Generator

from enogu.mini.face import SKIN
from enogu.mini.pen import Pen, curve, ellipse, mirror, poly
from enogu.mini.style import scaled
from enogu.mini.traits import RGB, Figure, choice

TROUSERS: RGB = (62, 66, 92)
SKIRT: RGB = (74, 78, 116)
SOCK: RGB = (250, 250, 252)
SHOE: RGB = (98, 58, 46)
TRIM: RGB = (252, 252, 255)


def body(pen: Pen, figure: Figure, rng: Generator) -> None:
    """Draw everything below the head, back to front."""
    rgb = choice("shirt", figure.shirt).rgb
    stride = rng.uniform(0.0, 0.08)
    _legs(pen, boy=figure.boy, stride=stride)
    pen.shape(curve((-0.17, 0.7), (0.17, 0.7), (0.2, 1.0), (-0.2, 1.0)), scaled(SKIN, 0.9))
    if not figure.boy:
        _skirt(pen, rng.uniform(-0.05, 0.05))
    left, right = rng.uniform(0.15, 1.0, 2)
    _arm(pen, rgb, left, side=-1.0)
    _arm(pen, rgb, right, side=1.0)
    _shirt(pen, rgb, boy=figure.boy)


def _legs(pen: Pen, *, boy: bool, stride: float) -> None:
    for side in (-1.0, 1.0):
        x = side * (0.24 + stride)
        if boy:
            trouser = poly((x - 0.2, 1.6), (x + 0.2, 1.6), (x + 0.19, 2.32), (x - 0.19, 2.32))
            pen.shape(trouser, TROUSERS)
        else:
            pen.shape(poly((x - 0.15, 1.7), (x + 0.15, 1.7), (x + 0.13, 2.36), (x - 0.13, 2.36)), SKIN)
            pen.shape(poly((x - 0.15, 2.06), (x + 0.15, 2.06), (x + 0.14, 2.36), (x - 0.14, 2.36)), SOCK)
        shoe = curve((x - 0.17, 2.3), (x + 0.17, 2.3), (x + 0.2 + 0.05 * side, 2.47), (x - 0.2 + 0.05 * side, 2.47))
        pen.shape(shoe, SHOE)


def _skirt(pen: Pen, sway: float) -> None:
    skirt = curve((-0.45, 1.55), (0.45, 1.55), (0.66 + sway, 1.84), (0.74 + sway, 1.98), (0.3, 2.03),
                  (-0.3, 2.03), (-0.74 + sway, 1.98), (-0.66 + sway, 1.84))  # fmt: skip
    pen.shape(skirt, SKIRT, shadow=poly((-0.9, 1.5), (-0.25, 1.5), (-0.35, 2.1), (-0.9, 2.1)))
    for x in (-0.25, 0.05, 0.32):
        pen.outline(poly((x * 0.8, 1.7), (x + sway, 2.0)), SKIRT, width=0.6, closed=False)


def _arm(pen: Pen, rgb: RGB, raise_: float, *, side: float) -> None:
    """`raise_` turns the arm from hanging (0) outwards (1)."""
    hand_x, hand_y = 0.7 + 0.34 * raise_, 1.66 - 0.32 * raise_
    sleeve = curve(
        (0.34, 0.98), (0.6, 1.02), (hand_x + 0.1, hand_y - 0.12), (hand_x - 0.14, hand_y + 0.04), (0.4, 1.36)
    )
    hand = ellipse((hand_x + 0.02, hand_y + 0.02), (0.13, 0.13))
    if side < 0:
        sleeve, hand = mirror(sleeve), mirror(hand)
    pen.shape(hand, SKIN)
    pen.shape(sleeve, rgb)


def _shirt(pen: Pen, rgb: RGB, *, boy: bool) -> None:
    shirt = curve((-0.24, 0.88), (0.24, 0.88), (0.58, 0.98), (0.56, 1.3), (0.56, 1.68), (0, 1.72), (-0.56, 1.68),
                  (-0.56, 1.3), (-0.58, 0.98))  # fmt: skip
    pen.shape(shirt, rgb, shadow=poly((-0.8, 0.8), (-0.24, 0.8), (-0.32, 1.9), (-0.8, 1.9)))
    if boy:
        pen.shape(poly((-0.24, 0.88), (0, 1.04), (0.24, 0.88), (0.26, 1.06), (0, 1.2), (-0.26, 1.06)), TRIM, width=0.7)
        pen.shape(poly((-0.07, 1.08), (0.07, 1.08), (0.11, 1.4), (0, 1.52), (-0.11, 1.4)), TROUSERS, width=0.7)
    else:
        for side in (-1.0, 1.0):
            wing = poly((0, 1.1), (side * 0.28, 0.98), (side * 0.28, 1.24))
            pen.shape(wing, TRIM, width=0.7)
        pen.shape(ellipse((0, 1.1), (0.07, 0.08)), TRIM, width=0.7)
