"""Plain sketches of flat shapes with outlines, so that the mini autoencoder knows more than characters."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray


def sketch(rng: Generator, side: int) -> NDArray[np.uint8]:
    """Return a (side, side, 3) RGB picture of a few random shapes on a plain or white ground."""
    ground = (255, 255, 255) if rng.random() < 0.6 else _colour(rng)
    canvas = np.full((side * 2, side * 2, 3), ground, dtype=np.uint8)
    for _ in range(int(rng.integers(1, 9))):
        points = _shape(rng, side * 2)
        if rng.random() < 0.85:
            cv2.fillPoly(canvas, [points], _colour(rng), cv2.LINE_AA)
        if rng.random() < 0.8:
            line = (0, 0, 0) if rng.random() < 0.8 else _colour(rng)
            cv2.polylines(canvas, [points], True, line, int(rng.integers(2, 10)), cv2.LINE_AA)
    return np.asarray(cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _shape(rng: Generator, side: int) -> NDArray[np.int32]:
    """An ellipse, a box or a polygon, turned at random, as (n, 2) integer points."""
    kind = int(rng.integers(3))
    count = (36, 4, int(rng.integers(3, 8)))[kind]
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False) + (np.pi / 4 if kind == 1 else 0)
    reach = rng.uniform(0.4, 1.0, count) if kind == 2 else np.ones(count)
    unit = np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach[:, None]
    turn = rng.uniform(0, np.pi)
    turned = (unit * rng.uniform(0.04, 0.4, 2) * side) @ np.array(
        [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    )
    return np.asarray(turned + rng.uniform(0.1, 0.9, 2) * side, dtype=np.int32)


def _colour(rng: Generator) -> tuple[int, int, int]:
    """Half the time a vivid colour, else any."""
    hue, value = int(rng.integers(180)), int(rng.integers(120, 256) if rng.random() < 0.5 else rng.integers(256))
    saturation = int(rng.integers(256))
    hsv = np.array([[[hue, saturation, value]]], dtype=np.uint8)
    red, green, blue = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]
    return int(red), int(green), int(blue)
