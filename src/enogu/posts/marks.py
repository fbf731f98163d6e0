"""Marks that compression and resampling leave: a grid too regular for a drawing.

A picture that was resampled repeats its interpolation weights, and a JPEG its blocks of 8: both make the size of its
derivatives periodic (Gallagher 2005), and a model that sees many of them learns the period as a mosaic.
A heavy JPEG made after an enlargement hides the enlargement.
"""

from typing import NamedTuple

import cv2
import numpy as np

WINDOW = 512  # pixels a side that are looked at, from the middle
LEAST = 64  # a smaller picture tells nothing
STEEPEST = 24  # edges count no more than so many grey levels: they belong to the drawing
GROUND = 17  # frequencies on each side whose median a peak is compared with
EACH = 4  # frequencies that share a median
TREND = 9  # pixels over which the drawing's own ups and downs are averaged out
LOWEST = 1 / 16  # cycles per pixel; slower ones are drawings, not marks
BLOCK = 8  # pixels, of JPEG
NEAR = 0.05  # blocks
SURE = 8.0  # drawings and noise stay under 5
HALF = 2.5  # WebP's blocks of 4 rise to 20 at two pixels, a doubling to 40


class Marks(NamedTuple):
    """How many times the regularities of a picture rise over their surroundings, and the period of the second."""

    blocks: float  # of a JPEG in its own size
    resampled: float
    period: float  # pixels


NONE = Marks(0.0, 0.0, 0.0)


def marks(picture: np.ndarray) -> Marks:
    """Return the marks of an HWC uint8 picture, along the side where they are stronger."""
    height, width = picture.shape[:2]
    if min(height, width) < LEAST:
        return NONE
    top, left = max(0, height - WINDOW) // 2, max(0, width - WINDOW) // 2
    window = picture[top : top + WINDOW, left : left + WINDOW]
    grey = cv2.cvtColor(np.ascontiguousarray(window), cv2.COLOR_RGB2GRAY).astype(np.int16)
    return max((_along(grey), _along(np.ascontiguousarray(grey.T))), key=lambda found: max(found[:2]))


def _along(grey: np.ndarray) -> Marks:
    """Look along the rows of a picture."""
    frequencies, second = _peaks(np.abs(2 * grey[:, 1:-1] - grey[:, :-2] - grey[:, 2:]))
    _, first = _peaks(np.abs(np.diff(grey[:, 1:])))  # sees a doubling, which the second derivative does not
    harmonic = frequencies * BLOCK
    half = frequencies > 0.5 - NEAR / BLOCK
    of_blocks = (np.abs(harmonic - harmonic.round()) < NEAR) & ~half
    blocks = float(second[of_blocks].max(initial=0.0))
    others = np.where(of_blocks, 0.0, np.maximum(second, first))
    others[half] = 0.0 if blocks >= SURE else others[half] / HALF
    peak = int(others.argmax())
    return Marks(blocks, float(others[peak]), float(1 / frequencies[peak]) if others[peak] else 0.0)


def _peaks(change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies, and how far the spectrum of the mean change per column rises over its ground."""
    profile = np.minimum(change, STEEPEST).mean(axis=0, dtype=np.float32)
    profile -= cv2.blur(profile[None], (TREND, 1))[0]
    spectrum = np.abs(np.fft.rfft(profile * np.hanning(len(profile))))
    around = np.lib.stride_tricks.sliding_window_view(np.pad(spectrum, GROUND, mode="reflect"), 2 * GROUND + 1)
    levels = np.median(around[::EACH], axis=1).repeat(EACH)[: len(spectrum)]
    ground = levels + 1e-3  # a flat picture has none
    frequencies = np.fft.rfftfreq(len(profile))
    return frequencies, np.where(frequencies < LOWEST, 0.0, spectrum / ground)
