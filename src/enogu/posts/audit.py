"""The look at each chosen image, in one decode: is it whole, what is it really, and what are its hashes.

`audit/*.parquet` keep what was seen, in the order of the posts; a killed audit goes on behind the last of them. The
pixels are those that taggers and the VAE get: `core/records/picture.py` decodes for all.
"""

import hashlib
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
from PIL import Image

from enogu.core.records.files import atomic_path
from enogu.core.records.perceptual import perceptual_hash, pixel_hash
from enogu.core.records.picture import Opened, PictureError, read_bytes
from enogu.core.records.progress import Progress
from enogu.posts.compression import jpeg_quality, webp_quality
from enogu.posts.marks import marks

FORMATS = {"BMP": "bmp", "GIF": "gif", "JPEG": "jpg", "MPO": "jpg", "PNG": "png", "TIFF": "tiff", "WEBP": "webp"}
SPELT = {"jpeg": "jpg", "jfif": "jpg", "jpe": "jpg", "tif": "tiff", "apng": "png", "dib": "bmp"}
QUEUED = 4096  # images of one part

SEEN: dict[str, pl.DataType] = {
    "image": pl.String(),
    "reason": pl.String(),  # why it cannot be used; empty when it can
    "sha256": pl.String(),
    "width": pl.Int32(),  # of the upright picture
    "height": pl.Int32(),
    "format": pl.String(),  # by its content, as an extension
    "traits": pl.List(pl.String()),  # wrong extension, turned, 16 bit, palette, transparent, profile, cmyk, ...
    "quality": pl.Int32(),  # of JPEG and WebP, as libjpeg and libwebp count, 1 to 100
    "blocks": pl.Float32(),  # see marks.py
    "resampled": pl.Float32(),
    "period": pl.Float32(),
    "pixel_hash": pl.String(),  # equal for equal pixels
    "phash": pl.UInt64(),  # near for near pictures
}


@dataclass(frozen=True)
class Limits:
    """What an image may be."""

    min_side: int
    max_pixels: int
    animated: bool


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What was seen of an image; `reason` tells why it cannot be used, if so."""

    image: str
    reason: str = ""
    sha256: str = ""
    width: int = 0
    height: int = 0
    format: str = ""
    traits: tuple[str, ...] = ()
    quality: int | None = None
    blocks: float = 0.0
    resampled: float = 0.0
    period: float = 0.0
    pixel_hash: str = ""
    phash: int | None = None


def audit(
    posts: pl.DataFrame, root: Path, limits: Limits, *, threads: int, progress: Progress, keep: Path | None = None
) -> pl.DataFrame:
    """Return the posts with `sha256`, the true `width` and `height`, and `reason` (empty when fit)."""
    parts: list[pl.DataFrame] = []
    with warnings.catch_warnings(), ThreadPoolExecutor(threads or None) as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is max_pixels
        for number, images in enumerate(_chunks(posts["image"])):
            path = keep / f"{number:05d}.parquet" if keep else None
            seen = _kept(path, images)
            if seen is None:
                found = []
                for one in pool.map(lambda image: look(root, image, limits), images):
                    found.append(asdict(one))
                    progress(number * QUEUED + len(found), len(posts), "images looked at")
                seen = pl.DataFrame(found, SEEN)
                _keep(path, seen)
            parts.append(seen.select("sha256", "width", "height", "reason"))
    columns = pl.concat(parts) if parts else pl.DataFrame(schema=SEEN).select("sha256", "width", "height", "reason")
    return posts.with_columns(columns.get_columns())


def look(root: Path, image: str, limits: Limits) -> Looked:
    """Read, decode and measure one image."""
    path = (root / image).resolve()
    if not path.is_relative_to(root.resolve()):
        return Looked(image=image, reason="outside the image folder")
    try:
        data = read_bytes(path)
    except PictureError as error:
        return Looked(image=image, reason=error.reason)
    try:
        return _measure(data, image, limits)
    except PictureError as error:
        return Looked(image=image, reason=error.reason, sha256=hashlib.sha256(data).hexdigest())


def _measure(data: bytes, image: str, limits: Limits) -> Looked:
    opened = Opened(data, max_pixels=limits.max_pixels)
    kind = FORMATS.get(opened.image.format or "")
    if kind is None:
        raise PictureError("unreadable", f"{opened.image.format} is not read here")
    if min(opened.size) < limits.min_side:
        raise PictureError("too small")
    if opened.is_animated and not limits.animated:
        raise PictureError("animated")
    said = Path(image).suffix.removeprefix(".").lower()
    traits = opened.traits() + (["wrong extension"] if SPELT.get(said, said) not in ("", kind) else [])
    quality = _quality(opened.image, data)
    picture = opened.decode()
    found = marks(picture)
    return Looked(
        image=image,
        sha256=hashlib.sha256(data).hexdigest(),
        width=picture.shape[1],
        height=picture.shape[0],
        format=kind,
        traits=tuple(traits),
        quality=quality,
        blocks=found.blocks,
        resampled=found.resampled,
        period=found.period,
        pixel_hash=pixel_hash(picture),
        phash=perceptual_hash(picture),
    )


def _quality(image: Image.Image, data: bytes) -> int | None:
    if image.format == "WEBP":
        return webp_quality(data)
    return jpeg_quality(getattr(image, "quantization", {})) if image.format in ("JPEG", "MPO") else None


def _chunks(images: pl.Series) -> Iterator[list[str]]:
    for start in range(0, len(images), QUEUED):
        yield images[start : start + QUEUED].to_list()


def _kept(path: Path | None, images: list[str]) -> pl.DataFrame | None:
    if path is None or not path.exists():
        return None
    seen = pl.read_parquet(path)
    return seen if seen.schema == pl.Schema(SEEN) and seen["image"].to_list() == images else None


def _keep(path: Path | None, seen: pl.DataFrame) -> None:
    if path is not None:
        with atomic_path(path) as part:
            seen.write_parquet(part)
