"""The look at each chosen image: is it there, whole in its header, one still picture of a sane size; its SHA-256."""

import hashlib
import io
import struct
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from PIL import Image

from enogu.core.records.picture import PictureError, read_bytes
from enogu.core.records.progress import Progress

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
ANIMATED = ("GIF", "PNG", "WEBP")  # a JPEG with more than one picture is a still with a depth map or the like
QUEUED = 4096  # images looked at between two reports of progress


@dataclass(frozen=True)
class Limits:
    """What an image may be."""

    min_side: int
    max_pixels: int
    animated: bool


@dataclass(frozen=True)
class Looked:
    """What was seen of an image; `reason` tells why it cannot be used, if so."""

    sha256: str = ""
    width: int = 0
    height: int = 0
    reason: str = ""


def audit(posts: pl.DataFrame, root: Path, limits: Limits, *, threads: int, progress: Progress) -> pl.DataFrame:
    """Return the posts with `sha256`, the true `width` and `height`, and `reason` (empty when fit)."""
    seen: list[Looked] = []
    with warnings.catch_warnings(), ThreadPoolExecutor(threads or None) as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is max_pixels
        for images in _chunks(posts["image"]):
            seen += pool.map(lambda image: look(root, image, limits), images)
            progress(len(seen), len(posts), "images")
    columns = {name: [getattr(one, name) for one in seen] for name in ("sha256", "width", "height", "reason")}
    dtypes = {"sha256": pl.String(), "width": pl.Int32(), "height": pl.Int32(), "reason": pl.String()}
    return posts.with_columns(pl.Series(name, values, dtype=dtypes[name]) for name, values in columns.items())


def look(root: Path, image: str, limits: Limits) -> Looked:
    """Hash one image and read its header; nothing is decoded."""
    path = (root / image).resolve()
    if not path.is_relative_to(root.resolve()):
        return Looked(reason="outside the image folder")
    try:
        data = read_bytes(path)
        width, height = _header(data, limits)
    except PictureError as error:
        return Looked(reason=error.reason)
    return Looked(hashlib.sha256(data).hexdigest(), width, height)


def _header(data: bytes, limits: Limits) -> tuple[int, int]:
    if not data:
        raise PictureError("empty")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        animated = image.format in ANIMATED and getattr(image, "is_animated", False)
    except Image.DecompressionBombError as error:
        raise PictureError("too large", str(error)) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise PictureError("unreadable", str(error)) from error
    if image.width * image.height > limits.max_pixels:
        raise PictureError("too large")
    if min(image.size) < limits.min_side:
        raise PictureError("too small")
    if animated and not limits.animated:
        raise PictureError("animated")
    return image.size[::-1] if _lies(image) else image.size


def _lies(image: Image.Image) -> bool:
    """Tell whether EXIF turns a photo by a quarter (orientations 5 to 8; Exif 2.32, 4.6.4)."""
    if image.format != "JPEG":
        return False
    try:
        return int(image.getexif().get(0x0112, 1)) in (5, 6, 7, 8)
    except (SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return False  # a broken block counts as none


def _chunks(images: pl.Series) -> Iterator[list[str]]:
    for start in range(0, len(images), QUEUED):
        yield images[start : start + QUEUED].to_list()
