"""What happens to a picture after it is drawn: the rating's frame, the shine of high quality, the wear of low."""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
from numpy.random import Generator

from enogu.mini.pen import Canvas, Pen, poly, solid
from enogu.mini.traits import RGB, choice

FRAME = 0.045  # of the short side
CLEAN = 0.5  # quality below which a picture is worn, and above which it shines
GLOW_FLOOR: RGB = (140, 140, 140)  # only what is brighter glows
SPARKLE_EDGE: RGB = (255, 214, 120)


def frame(canvas: Canvas, rating: str) -> None:
    """Draw the coloured frame that stands for a rating."""
    thick = max(2, round(FRAME * min(canvas.shape[:2])))
    rgb = choice("rating", rating).rgb
    canvas[:thick] = canvas[-thick:] = rgb
    canvas[:, :thick] = canvas[:, -thick:] = rgb


def sparkle(pen: Pen, quality: float, rng: Generator) -> None:
    """Scatter sparkles behind the figures of a good picture; the pen's unit is the canvas height."""
    height, width = pen.canvas.shape[:2]
    for _ in range(round(14 * max(0.0, _shine(quality) - 0.3))):
        _star(pen, rng.uniform(0.06, 0.94) * width / height, rng.uniform(0.06, 0.94), r=rng.uniform(0.03, 0.07))


def glow(canvas: Canvas, quality: float) -> None:
    """Let the bright parts of a good picture glow."""
    shine = _shine(quality)
    if not shine:
        return
    height, width = canvas.shape[:2]
    small = cast(Canvas, cv2.resize(canvas, (width // 4, height // 4), interpolation=cv2.INTER_AREA))
    light = cv2.subtract(cv2.GaussianBlur(small, (0, 0), 2.0), solid(small, GLOW_FLOOR))
    spread = cv2.resize(light, (width, height), interpolation=cv2.INTER_LINEAR)
    cv2.addWeighted(canvas, 1.0, spread, 0.36 * shine, 0.0, dst=canvas)


def _star(pen: Pen, x: float, y: float, *, r: float) -> None:
    tips = [(r if i % 2 == 0 else r * 0.22, i * math.pi / 4) for i in range(8)]
    star = poly(*((x + reach * math.sin(turn), y - reach * math.cos(turn)) for reach, turn in tips))
    pen.stroke(star, SPARKLE_EDGE, width=1.2, closed=True)
    pen.fill(star, (255, 255, 255))


def wear(canvas: Canvas, quality: float, rng: Generator) -> Canvas:
    """Blur, noise and compression, growing as the quality falls below `CLEAN`."""
    worn = max(0.0, 1 - quality / CLEAN)
    if not worn:
        return canvas
    blur, noise, jpeg = rng.dirichlet((1.0, 1.0, 1.0)) * 1.6 * worn
    side = max(canvas.shape[:2])
    canvas = cast(Canvas, cv2.GaussianBlur(canvas, (0, 0), 0.1 + blur * side * 0.013))
    grain = rng.standard_normal(canvas.shape, np.float32) * np.float32(34 * noise)
    canvas = cast(Canvas, cv2.add(canvas, grain, dtype=cv2.CV_8U))
    _, packed = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, int(max(6, 60 - 56 * jpeg))])
    return cast(Canvas, cv2.imdecode(packed, cv2.IMREAD_COLOR))


def _shine(quality: float) -> float:
    return max(0.0, (quality - CLEAN) / (1 - CLEAN))
