"""`draw(traits, width, height, *, seed) -> uint8 RGB array [height, width, 3]`: the whole of a picture."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import cv2
import numpy as np
from numpy.random import PCG64, Generator

from enogu.mini import backgrounds, body, face, finish, hair, headwear
from enogu.mini.pen import Canvas, Pen, solid
from enogu.mini.style import style_of
from enogu.mini.traits import Figure, Traits, choice

OVERSAMPLE = 2
CONTOUR = 0.11  # of the sticker edge, in head radii


def draw(traits: Traits, width: int, height: int, *, seed: int) -> Canvas:
    """Draw a picture; the same arguments give the same pixels."""
    rng = Generator(PCG64(seed))
    canvas = np.empty((height * OVERSAMPLE, width * OVERSAMPLE, 3), np.uint8)
    style = style_of(traits.artist, traits.year)
    ground = Pen(canvas=canvas, mask=None, style=style, origin=(0, 0), scale=canvas.shape[0])
    backgrounds.paint(ground, traits.background, rng)
    finish.sparkle(ground, traits.quality, rng)
    for pen, figure in zip(_places(traits, ground, rng), traits.figures, strict=True):
        _figure(pen, figure, rng)
    small = cast(Canvas, cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA))
    finish.glow(small, traits.quality)
    finish.frame(small, traits.rating)
    return finish.wear(small, traits.quality, rng)


def _places(traits: Traits, ground: Pen, rng: Generator) -> list[Pen]:
    """One pen per figure: the cut of the framing is the picture's lower edge."""
    height, width = ground.canvas.shape[:2]
    floor = height - finish.FRAME * min(height, width)
    tops = [choice("headwear", figure.headwear).top for figure in traits.figures]
    framing = choice("framing", traits.framing)
    cut, half = framing.end, framing.half_width
    column = width / len(traits.figures)
    scale = min((2 * floor - height) / (cut - min(tops) + 0.04), column / (2 * half)) * rng.uniform(0.93, 1.0)
    spare = floor - (cut - min(tops)) * scale
    rise = rng.uniform(0.1, 0.5) * spare if traits.framing == "full_body" else 0.0
    slack = max(0.0, column / 2 - half * scale)
    pens = []
    for i in range(len(traits.figures)):
        x = column * (i + 0.5) + rng.uniform(-0.6, 0.6) * slack
        pens.append(replace(ground, origin=(x, floor - rise - cut * scale), scale=scale))
    return pens


def _figure(pen: Pen, figure: Figure, rng: Generator) -> None:
    """Draw one character, with a sticker edge where the artist wants one."""
    if not pen.style.contour:
        _character(pen, figure, rng)
        return
    layer = replace(pen, canvas=pen.canvas.copy(), mask=np.zeros(pen.canvas.shape[:2], np.uint8))
    _character(layer, figure, rng)
    assert layer.mask is not None
    reach = 2 * round(CONTOUR * pen.scale) + 1
    edge = cv2.dilate(layer.mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    drop = round(CONTOUR * pen.scale * 0.7)
    shade = np.zeros_like(edge)
    shade[drop:, drop:] = edge[:-drop, :-drop]
    cv2.copyTo(solid(pen.canvas, (120, 104, 150)), shade, pen.canvas)
    cv2.copyTo(solid(pen.canvas, (255, 255, 255)), edge, pen.canvas)
    cv2.copyTo(layer.canvas, layer.mask, pen.canvas)


def _character(pen: Pen, figure: Figure, rng: Generator) -> None:
    """Draw one character from back to front; the head tilts about the chin."""
    hair_rgb = choice("hair_colour", figure.hair_colour).rgb
    tilt = rng.uniform(-0.12, 0.12)
    head = pen.moved(0, 0.8, tilt).moved(0, -0.8)
    hair.behind(head, figure, rng)
    body.body(pen, figure, rng)
    headwear.back_of(head, figure.headwear, hair_rgb)
    face.skin(head)
    face.features(head, figure, face.look(rng))
    hair.front(head, figure, rng)
    face.brows(head, figure)
    headwear.front_of(head, figure.headwear, hair_rgb)
    if figure.expression == "angry":
        face.anger_mark(head)
