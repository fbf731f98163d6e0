"""A face: skin, big eyes, and an expression that still reads at 64 pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from enogu.mini.pen import Pen, curve, ellipse, mirror, poly
from enogu.mini.style import mix, scaled
from enogu.mini.traits import RGB, Figure, choice

SKIN: RGB = (255, 226, 206)
BLUSH: RGB = (255, 158, 150)
MOUTH: RGB = (196, 52, 66)
TEAR: RGB = (96, 186, 255)
ANGER: RGB = (236, 28, 44)
DARK: RGB = (44, 30, 48)
WHITE: RGB = (255, 255, 255)

EYE_X, EYE_Y = 0.43, 0.2


@dataclass(frozen=True, kw_only=True)
class Look:
    """Where the eyes look and how far they are open, jittered per picture."""

    x: float
    y: float
    open: float


def look(rng: Generator) -> Look:
    """A random gaze."""
    return Look(x=rng.uniform(-0.05, 0.05), y=rng.uniform(-0.02, 0.04), open=rng.uniform(0.94, 1.06))


def skin(pen: Pen) -> None:
    """Draw ears and the face, shaded under the fringe."""
    for side in (-1.0, 1.0):
        pen.shape(ellipse((side * 0.9, 0.2), (0.13, 0.19)), SKIN)
    face = curve(
        (-0.9, -0.3), (-0.88, 0.3), (-0.56, 0.74), (0, 0.94), (0.56, 0.74), (0.88, 0.3), (0.9, -0.3), (0, -0.95)
    )  # fmt: skip
    pen.shape(face, SKIN, shadow=ellipse((0, -0.62), (1.0, 0.56)))


def features(pen: Pen, figure: Figure, gaze: Look) -> None:
    """Draw blush, eyes, mouth and tears."""
    if not figure.boy:
        for side in (-1.0, 1.0):
            pen.fill(ellipse((side * 0.58, 0.5), (0.17, 0.09)), BLUSH)
    wink = -1.0 if figure.expression == "one_eye_closed" else 0.0
    for side in (-1.0, 1.0):
        if side == wink:
            _closed_eye(pen, side)
        else:
            _eye(pen, figure, side, gaze=gaze)
    _mouth(pen, figure.expression)
    if figure.expression == "crying":
        _tears(pen)


def _eye(pen: Pen, figure: Figure, side: float, *, gaze: Look) -> None:
    rgb = choice("eye_colour", figure.eye_colour).rgb
    rx, ry = (0.23, 0.29) if figure.boy else (0.26, 0.36)
    ry *= gaze.open
    x, y = side * EYE_X, EYE_Y
    at = np.array([x, y])
    ix, iy = x + gaze.x, y + gaze.y + 0.01
    white, iris = ellipse((x, y), (rx, ry)), ellipse((ix, iy), (rx * 0.86, ry * 0.92))
    pen.fill(white, WHITE)
    pen.inside(white, iris, rgb)
    pen.inside(iris, ellipse((ix, iy - ry * 0.72), (rx, ry * 0.62)), scaled(rgb, 0.55))
    pen.fill(ellipse((ix, iy + 0.0), (rx * 0.34, ry * 0.4)), scaled(rgb, 0.3))
    pen.fill(ellipse((ix, iy + ry * 0.58), (rx * 0.42, ry * 0.18)), mix(rgb, WHITE, 0.55))
    pen.fill(ellipse((ix - 0.09, iy - ry * 0.42), (rx * 0.34, ry * 0.26)), WHITE)
    pen.fill(ellipse((ix + 0.09, iy + ry * 0.3), (rx * 0.17, ry * 0.13)), WHITE)
    lash = curve((-rx * 1.08, ry * 0.1), (-rx * 0.86, -ry * 0.72), (0, -ry * 1.06), (rx * 0.86, -ry * 0.72),
                 (rx * 1.12, ry * 0.05), closed=False)  # fmt: skip
    if side < 0:
        lash = mirror(lash)
    pen.stroke(lash + at, pen.style.tone(DARK), width=6 if figure.boy else 9)
    if not figure.boy:
        wing = poly((side * rx * 0.95, -ry * 0.45), (side * rx * 1.5, -ry * 0.72))
        pen.stroke(wing + at, pen.style.tone(DARK), width=6)


def _closed_eye(pen: Pen, side: float) -> None:
    x, y = side * EYE_X, EYE_Y + 0.06
    arc = curve((x - 0.27, y + 0.12), (x - 0.14, y - 0.1), (x + 0.14, y - 0.1), (x + 0.27, y + 0.12), closed=False)
    pen.stroke(arc, pen.style.tone(DARK), width=10)


def brows(pen: Pen, figure: Figure) -> None:
    """Draw the brows, over the fringe as anime does."""
    slant = {"angry": 0.2, "crying": -0.14}.get(figure.expression, 0.0)
    width = 13.0 if figure.expression == "angry" else (8.0 if figure.boy else 4.5)
    rgb = scaled(choice("hair_colour", figure.hair_colour).rgb, 0.5)
    for side in (-1.0, 1.0):
        inner, outer = (side * 0.2, -0.25 + slant), (side * 0.62, -0.25 - slant)
        middle = (side * 0.42, -0.3)
        pen.stroke(curve(inner, middle, outer, closed=False), pen.style.tone(rgb), width=width)


def anger_mark(pen: Pen) -> None:
    """Draw the red crossed vein of comics at the temple."""
    vein = curve((0.08, 0.32), (0.1, 0.1), (0.32, 0.08), closed=False)
    corners = [pen.moved(0.78, -0.5, quarter * math.pi / 2 + 0.2) for quarter in range(4)]
    for rgb, width in ((WHITE, 20.0), (ANGER, 11.0)):
        for corner in corners:
            corner.stroke(vein, rgb, width=width)


def _mouth(pen: Pen, expression: str) -> None:
    dark = pen.style.tone(scaled(MOUTH, 0.6))
    if expression == "open_mouth":
        mouth = curve((-0.25, 0.54), (0, 0.57), (0.25, 0.54), (0.16, 0.78), (0, 0.85), (-0.16, 0.78))
        pen.fill(mouth, MOUTH)
        pen.inside(mouth, ellipse((0, 0.84), (0.16, 0.12)), (255, 140, 140))
        pen.stroke(mouth, dark, width=4, closed=True)
    elif expression == "angry":
        pen.stroke(curve((-0.2, 0.76), (-0.08, 0.65), (0.08, 0.65), (0.2, 0.76), closed=False), dark, width=7)
    elif expression == "crying":
        wave = [(-0.2, 0.68), (-0.1, 0.62), (0, 0.7), (0.1, 0.62), (0.2, 0.68)]
        pen.stroke(curve(*wave, closed=False), dark, width=6)
    else:
        lift = 0.04 if expression == "one_eye_closed" else 0.0
        smile = curve((-0.2, 0.6), (-0.09, 0.7 + lift), (0.09, 0.7 + lift), (0.2, 0.6), closed=False)
        pen.stroke(smile, dark, width=6)


def _tears(pen: Pen) -> None:
    for side in (-1.0, 1.0):
        x = side * 0.5
        stream = curve((x - 0.13, 0.44), (x + 0.13, 0.44), (x + 0.17, 0.72), (x, 0.86), (x - 0.17, 0.72))
        pen.fill(stream, TEAR)
        pen.stroke(stream, pen.style.tone((40, 120, 220)), width=4, closed=True)
        pen.fill(ellipse((x - 0.04, 0.62), (0.04, 0.1)), WHITE)
