"""Pictures inside the page: WebP as data URIs, small enough together for one file that can be mailed."""

import base64
import io
from pathlib import Path

from PIL import Image

from enogu.core.records.picture import read_picture

BUDGET = 4_500_000  # bytes of pictures in the page, before base64 makes them a third larger
BYTES_PER_PIXEL = 0.4  # of a drawing as WebP at QUALITY, generously
QUALITY = 90
LEAST_SIDE = 64


def fitting_side(count: int, *, most: int, budget: int = BUDGET) -> int:
    """Return the longest side at which `count` pictures fit the budget, between LEAST_SIDE and `most`."""
    side = int((budget / max(count, 1) / BYTES_PER_PIXEL) ** 0.5)
    return max(min(side, most), min(LEAST_SIDE, most))


def data_uri(path: Path, *, side: int) -> str:
    """Return a picture as a data URI, its longest side at most `side`; raises PictureError."""
    picture = Image.fromarray(read_picture(path))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
