"""What happens to a picture after it is drawn: the rating's frame, and the wear of low quality."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.random import Generator

from enogu.mini.pen import Canvas
from enogu.mini.traits import choice

FRAME = 0.045  # of the short side
CLEAN = 0.5  # quality from which nothing is worn


def frame(canvas: Canvas, rating: str) -> None:
    """Draw the coloured frame that stands for a rating."""
    thick = max(2, round(FRAME * min(canvas.shape[:2])))
    rgb = choice("rating", rating).rgb
    canvas[:thick] = canvas[-thick:] = rgb
    canvas[:, :thick] = canvas[:, -thick:] = rgb


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
