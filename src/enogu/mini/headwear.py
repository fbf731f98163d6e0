"""Headwear: large silhouettes, each with a part behind the hair or in front of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from enogu.mini.pen import Pen, Points, curve, ellipse, mirror, poly
from enogu.mini.style import scaled
from enogu.mini.traits import RGB

PINK: RGB = (255, 170, 186)
WHITE: RGB = (252, 252, 255)
GOLD: RGB = (255, 206, 50)
STRAW: RGB = (238, 206, 130)
WITCH: RGB = (66, 44, 96)
RED: RGB = (224, 40, 52)
CAP: RGB = (214, 50, 46)

Part = Callable[[Pen, RGB], None]


def back_of(pen: Pen, kind: str, hair: RGB) -> None:
    """Draw the part between the hair's back and its front."""
    if kind in _BACK:
        _BACK[kind](pen, hair)


def front_of(pen: Pen, kind: str, hair: RGB) -> None:
    """Draw the part over the hair."""
    if kind in _FRONT:
        _FRONT[kind](pen, hair)


def _cat_ears(pen: Pen, hair: RGB) -> None:
    ear = curve((0.22, -0.9), (0.44, -1.36), (0.86, -1.78), (0.98, -1.2), (0.92, -0.6))
    inner = curve((0.46, -1.0), (0.56, -1.3), (0.8, -1.56), (0.86, -1.18), (0.8, -0.8))
    for flip in (_same, mirror):
        pen.shape(flip(ear), hair)
        pen.fill(flip(inner), PINK)


def _rabbit_ears(pen: Pen, hair: RGB) -> None:
    ear = curve((0.16, -0.9), (0.1, -1.6), (0.28, -2.3), (0.56, -2.3), (0.66, -1.6), (0.6, -0.8))
    inner = curve((0.28, -1.0), (0.24, -1.6), (0.36, -2.1), (0.48, -2.1), (0.52, -1.6), (0.46, -1.0))
    for flip in (_same, mirror):
        pen.shape(flip(ear), WHITE)
        pen.fill(flip(inner), PINK)


def _witch_hat(pen: Pen, hair: RGB) -> None:
    cone = curve((-0.82, -0.72), (-0.5, -1.4), (0.0, -2.0), (0.52, -2.28), (0.46, -1.96), (0.5, -1.4), (0.82, -0.72))
    pen.shape(cone, WITCH, shadow=poly((-1, -0.6), (-0.3, -0.6), (0.0, -2.2), (-1, -2.2)))
    band = curve((-0.84, -0.76), (-0.74, -1.0), (0, -0.92), (0.74, -1.0), (0.84, -0.76), (0, -0.66))
    pen.shape(band, (240, 150, 40))
    brim = curve(
        (-1.5, -0.62), (-0.8, -0.84), (0, -0.76), (0.8, -0.84), (1.5, -0.62), (0.8, -0.5), (0, -0.46), (-0.8, -0.5)
    )
    pen.shape(brim, WITCH)


def _straw_hat(pen: Pen, hair: RGB) -> None:
    dome = curve((-0.8, -0.7), (-0.78, -1.2), (-0.4, -1.54), (0.4, -1.54), (0.78, -1.2), (0.8, -0.7))
    pen.shape(dome, STRAW, shadow=poly((-1, -0.6), (-0.4, -0.6), (-0.5, -1.7), (-1, -1.7)))
    band = curve((-0.82, -0.7), (-0.8, -0.98), (0, -0.9), (0.8, -0.98), (0.82, -0.7), (0, -0.62))
    pen.shape(band, RED)
    brim = curve(
        (-1.5, -0.5), (-0.9, -0.76), (0, -0.72), (0.9, -0.76), (1.5, -0.5), (0.8, -0.42), (0, -0.4), (-0.8, -0.42)
    )
    pen.shape(brim, STRAW)


def _crown(pen: Pen, hair: RGB) -> None:
    crown = poly((-0.6, -0.92), (-0.74, -1.62), (-0.36, -1.3), (0, -1.76), (0.36, -1.3), (0.74, -1.62), (0.6, -0.92))
    pen.shape(crown, GOLD, shadow=poly((-0.9, -0.8), (-0.3, -0.8), (-0.4, -1.8), (-0.9, -1.8)))
    for x, y, rgb in ((-0.34, -1.08, (220, 40, 60)), (0.0, -1.12, (60, 120, 240)), (0.34, -1.08, (220, 40, 60))):
        pen.shape(ellipse((x, y), (0.11, 0.13)), rgb, width=0.6)


def _hair_bow(pen: Pen, hair: RGB) -> None:
    loop = curve((0.05, -1.08), (0.5, -1.6), (0.98, -1.62), (1.0, -1.0), (0.9, -0.66), (0.4, -0.86))
    for flip in (_same, mirror):
        pen.shape(flip(loop), RED, shadow=flip(ellipse((0.42, -0.96), (0.34, 0.22))))
    pen.shape(ellipse((0, -1.08), (0.19, 0.22)), scaled(RED, 0.9))


def _halo(pen: Pen, hair: RGB) -> None:
    ring = ellipse((0, -1.5), (0.78, 0.22))
    pen.stroke(ring, pen.style.ink(GOLD), width=26 + 2 * pen.style.line, closed=True)
    pen.stroke(ring, pen.style.tone(GOLD), width=26, closed=True)
    pen.stroke(ring, pen.style.tone((255, 248, 200)), width=8, closed=True)


def _mushroom_hat(pen: Pen, hair: RGB) -> None:
    cap = curve((-1.42, -0.55), (-1.3, -1.15), (-0.7, -1.7), (0, -1.82), (0.7, -1.7), (1.3, -1.15), (1.42, -0.55),
                (0.7, -0.42), (0, -0.4), (-0.7, -0.42))  # fmt: skip
    pen.shape(cap, CAP, shadow=ellipse((-0.2, -0.42), (1.5, 0.26)))
    for x, y, r in (
        (0.05, -1.34, 0.3),
        (-0.76, -1.0, 0.25),
        (0.84, -1.04, 0.23),
        (-0.2, -0.68, 0.15),
        (0.42, -0.72, 0.14),
    ):
        pen.inside(cap, ellipse((x, y), (r, r * 0.85)), WHITE)


def _same(points: Points) -> Points:
    return points


_BACK: Mapping[str, Part] = MappingProxyType({"cat_ears": _cat_ears, "rabbit_ears": _rabbit_ears})
_FRONT: Mapping[str, Part] = MappingProxyType(
    {"witch_hat": _witch_hat, "straw_hat": _straw_hat, "crown": _crown, "hair_bow": _hair_bow, "halo": _halo,
     "mushroom_hat": _mushroom_hat}
)  # fmt: skip
