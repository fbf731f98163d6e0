"""Two hashes of a decoded picture: one equal for equal pixels only, one that is near for the same view."""

import cv2
import numpy as np
from xxhash import xxh3_128_hexdigest

SIDE = 32  # the picture that is transformed ...
LOW = 8  # ... and the low frequencies that are kept of it


def pixel_hash(picture: np.ndarray) -> str:
    """Return 32 hex digits of an HWC uint8 RGB picture: its size and pixels, whatever file they came in."""
    height, width = picture.shape[:2]
    size = np.array([width, height], "<u4").tobytes()
    return xxh3_128_hexdigest(size + np.ascontiguousarray(picture).tobytes())


def perceptual_hash(picture: np.ndarray) -> int:
    """Return the 64-bit pHash: the signs of the low DCT frequencies against their median (Zauner 2010, 3.2.1).

    Small Hamming distances mean the same view: 0 to 4 for recompressed or resized copies, about 32 for strangers.
    """
    grey = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(grey.astype(np.float32))[:LOW, :LOW].ravel()
    bits = low > np.median(low[1:])  # the mean of the picture says nothing
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
