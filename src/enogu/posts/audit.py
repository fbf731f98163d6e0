"""The look at each chosen image, in one decode: is it whole, what is it really, and what are its hashes.

`audit/*.parquet` keep what was seen, in the order of the posts; a killed audit goes on behind the last of them, and
what was unfit is looked at again, since its image may have been mended. The pixels are those that taggers and the VAE
get: `core/records/picture.py` decodes for all.
"""

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from enogu.core.records.files import atomic_path
from enogu.core.records.perceptual import perceptual_hash, pixel_hash
from enogu.core.records.picture import Opened, PictureError, read_bytes
from enogu.core.records.progress import Progress
from enogu.core.records.work import Executor
from enogu.posts.compression import jpeg_quality, webp_quality
from enogu.posts.marks import marks

FORMATS = {"BMP": "bmp", "GIF": "gif", "JPEG": "jpg", "MPO": "jpg", "PNG": "png", "TIFF": "tiff", "WEBP": "webp"}
SPELT = {"jpeg": "jpg", "jfif": "jpg", "jpe": "jpg", "tif": "tiff", "apng": "png", "dib": "bmp"}
QUEUED = 4096  # images of one part
BATCH = 256  # images of one batch

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
TOLD = ("sha256", "width", "height", "reason")  # in the posts as well


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


@dataclass(frozen=True)
class Look:
    """The look at images below a root, as work on batches."""

    root: Path
    limits: Limits

    @property
    def reads(self) -> tuple[Path, ...]:
        """The folder of the images."""
        return (self.root,)

    def prepare(self, image: str) -> Looked:
        """Look at one image."""
        return look(self.root, image, self.limits)

    def finish(self, batch: Sequence[Looked]) -> Sequence[Looked]:
        """Return what was seen of a batch."""
        return batch


def audit(
    posts: pl.DataFrame, root: Path, limits: Limits, *, executor: Executor, progress: Progress, keep: Path | None = None
) -> pl.DataFrame:
    """Return the posts with `sha256`, the true `width` and `height`, and `reason` (empty when fit)."""
    paths = [keep / f"{number:05d}.parquet" if keep else None for number in range(-(-len(posts) // QUEUED))]
    parts = list(zip(paths, _chunks(posts["image"].to_list(), QUEUED), strict=True))
    left = [_left(*part) for part in parts]
    wanted = ([images[row] for row in rows] for (_, images), rows in zip(parts, left, strict=True))
    batches = chain.from_iterable(_chunks(images, BATCH) for images in wanted)
    done, told = len(posts) - sum(map(len, left)), [pl.DataFrame(schema=SEEN).select(TOLD)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is max_pixels
        looked = chain.from_iterable(executor.map(Look(root.absolute(), limits), batches))
        for part, rows in zip(parts, left, strict=True):
            found = []
            for one in islice(looked, len(rows)):
                found.append(asdict(one))
                progress(done + len(found), len(posts), "images looked at")
            done += len(found)
            told.append(_kept(part, rows, pl.DataFrame(found, SEEN)))
    return posts.with_columns(pl.concat(told).get_columns())


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


def _chunks(images: list[str], length: int) -> Iterator[list[str]]:
    for start in range(0, len(images), length):
        yield images[start : start + length]


def _left(path: Path | None, images: list[str]) -> Sequence[int]:
    """Return which of these images an earlier run has not found fit."""
    if path is None or not path.exists():
        return range(len(images))
    seen = pl.read_parquet(path)
    if seen.schema != pl.Schema(SEEN) or seen["image"].to_list() != images:
        return range(len(images))
    return (seen["reason"] != "").arg_true().to_list()


def _kept(part: tuple[Path | None, list[str]], rows: Sequence[int], seen: pl.DataFrame) -> pl.DataFrame:
    """Keep what was seen of these rows of a part beside what an earlier run has kept; return what is told of all."""
    path, images = part
    if path is None:
        return seen.select(TOLD)
    if len(rows) < len(images):
        earlier = pl.read_parquet(path)
        fit = (earlier["reason"] == "").arg_true()
        seen = pl.concat([earlier[fit], seen])[np.argsort([*fit, *rows])]
    if rows:
        with atomic_path(path) as written:
            seen.write_parquet(written)
    return seen.select(TOLD)
