"""Pictures decoded one way for everyone: upright, sRGB, 8 bits, transparency on white, first frame.

OpenCV decodes the plain case (8-bit RGB or grey JPEG, PNG, WebP) at twice Pillow's speed and with the same
bytes; everything that it would get wrong in silence goes through Pillow.
"""

import io
import struct
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from enogu.core.records.errors import Failed
from enogu.core.records.tars import inside, read_member

MAX_PIXELS = 100_000_000
MIN_SIDE = 2
WHITE = (255, 255, 255)
PLAIN_SRGB = "sRGB IEC61966-2.1"  # the profile of cameras and editors: nothing to convert, and it is everywhere
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N", "I")
EXIF_ORIENTATION = 0x0112  # Exif 2.32, 4.6.4
SIDEWAYS = 5  # orientations from here on exchange width and height
ANIMATED = ("GIF", "PNG", "WEBP")
PNG_DEPTH = 24  # the byte of the header that says how many bits a sample has
RESIZE_RECIPE = "cover-area-cubic-centre-1"  # names what resize_to_cover does; change it with the pixels

_LIGHT = np.arange(256) / 255  # IEC 61966-2-1: the light of each sRGB value ...
_LIGHT = np.where(_LIGHT <= 0.04045, _LIGHT / 12.92, ((_LIGHT + 0.055) / 1.055) ** 2.4).astype(np.float32)
_SRGB = np.arange(1 << 16) / 65535  # ... and the nearest value of each light
_SRGB = np.where(_SRGB <= 0.0031308, _SRGB * 12.92, 1.055 * _SRGB ** (1 / 2.4) - 0.055)
_SRGB = (_SRGB * 255 + 0.5).astype(np.uint8)


class PictureError(Failed):
    """A picture that cannot be used; `reason` is one short word or two to count by."""

    def __init__(self, reason: str, detail: str = "") -> None:
        """Say why, and what exactly was met."""
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


def read_picture(source: Path | str | bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Return a picture as HWC uint8 RGB, or raise PictureError; its header is checked before it is decoded."""
    data = source if isinstance(source, bytes) else read_bytes(Path(source))
    return Opened(data, max_pixels=max_pixels).decode()


class Opened:
    """A picture of which the header was read."""

    def __init__(self, data: bytes, *, max_pixels: int = MAX_PIXELS) -> None:
        """Read the header, or raise PictureError."""
        self._data = data
        self.image = _open(data, max_pixels)
        self._turn = _orientation(self.image, data)

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height of the upright picture."""
        width, height = self.image.size
        return (height, width) if self._turn >= SIDEWAYS else (width, height)

    @property
    def is_animated(self) -> bool:
        """Tell whether more frames follow; further pictures in a JPEG are depth maps and the like."""
        return self.image.format in ANIMATED and getattr(self.image, "is_animated", False)

    def traits(self) -> list[str]:
        """Return what decoding has to mind, in words to count by."""
        image, info = self.image, self.image.info
        found = {
            "turned": self._turn != 1,
            "16 bit": image.mode in SIXTEEN_BITS or (image.format == "PNG" and self._data[PNG_DEPTH] == 16),
            "palette": image.mode in ("P", "PA"),
            "transparent": image.has_transparency_data,
            "profile": "icc_profile" in info,
            "cmyk": image.mode == "CMYK",
            "grey": image.mode in ("1", "L", "LA", *SIXTEEN_BITS),
            "animated": self.is_animated,
        }
        return [trait for trait, is_so in found.items() if is_so]

    def decode(self) -> np.ndarray:
        """Return the pixels, HWC uint8 RGB, or raise PictureError."""
        try:
            return _decode(self.image, self._data, self._turn)
        except Exception as error:  # a decoder fed with broken bytes may raise anything
            reason = "truncated" if "truncated" in str(error).lower() else "unreadable"
            raise PictureError(reason, str(error)) from error


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a picture file, which may lie inside a tar, or raise PictureError."""
    try:
        found = None if path.exists() else inside(path)
        return read_member(*found) if found else path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PictureError("missing", str(path)) from error
    except OSError as error:
        raise PictureError("unreadable", str(error)) from error


def resize_to_cover(
    picture: np.ndarray, width: int, height: int, *, linear: bool = False
) -> tuple[np.ndarray, int, int]:
    """Resize once so that (width, height) is covered, and cut out the centre: (crop, crop_left, crop_top).

    Area averaging when shrinking (no aliasing), bicubic when enlarging, of light instead of sRGB values if `linear`.
    The crop is placed in pixels of the resized picture, as SDXL's crop conditioning has it (Podell et al. 2023, 2.2).
    """
    old_height, old_width = picture.shape[:2]
    scale = max(width / old_width, height / old_height)
    new_width, new_height = max(width, round(old_width * scale)), max(height, round(old_height * scale))
    if (new_width, new_height) != (old_width, old_height):
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        light = _LIGHT[picture] if linear else picture
        light = cv2.resize(light, (new_width, new_height), interpolation=how)
        picture = _SRGB[(light.clip(0, 1) * (len(_SRGB) - 1) + 0.5).astype(np.uint16)] if linear else light
    left, top = (new_width - width) // 2, (new_height - height) // 2
    return picture[top : top + height, left : left + width], left, top


def _open(data: bytes, max_pixels: int) -> Image.Image:
    if not data:
        raise PictureError("empty")
    try:
        image = Image.open(io.BytesIO(data))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError("too large", str(error)) from error
    except UnidentifiedImageError as error:
        raise PictureError("unreadable", "no picture format that is known here") from error
    except Exception as error:  # a header parser fed with broken bytes may raise anything
        raise PictureError("unreadable", str(error)) from error
    width, height = image.size
    if width * height > max_pixels:
        raise PictureError("too large", f"{width}x{height} is over {max_pixels} pixels")
    if min(width, height) < MIN_SIDE:
        raise PictureError("too small", f"{width}x{height}")
    return image


def _decode(image: Image.Image, data: bytes, turn: int) -> np.ndarray:
    if turn == 1 and _is_plain(image, data):
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        if picture is not None:
            return picture
    image.load()
    return np.ascontiguousarray(_flatten(image if turn == 1 else ImageOps.exif_transpose(image)))


def _orientation(image: Image.Image, data: bytes) -> int:
    """Return the EXIF orientation, 1 to 8; a broken block counts as none."""
    if image.format == "PNG" and b"eXIf" not in data and b"Raw profile type" not in data:
        return 1  # Pillow would decode the whole picture to look for the block behind it
    try:
        return int(image.getexif().get(EXIF_ORIENTATION, 1))
    except (SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return 1


def _is_plain(image: Image.Image, data: bytes) -> bool:
    """Tell whether OpenCV decodes these bytes as Pillow does."""
    return (
        image.mode in ("RGB", "L")
        and _is_whole(image.format or "", data)
        and "transparency" not in image.info
        and "icc_profile" not in image.info
        and not getattr(image, "is_animated", False)
    )


def _is_whole(kind: str, data: bytes) -> bool:
    """Look for the end mark: a decoder may fill what is missing with grey and say nothing."""
    if kind == "JPEG":  # the last end-of-image lies behind the last start-of-scan
        return data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")
    if kind == "PNG":
        return data.rfind(b"IEND") > data.rfind(b"IDAT")
    return kind == "WEBP" and int.from_bytes(data[4:8], "little") + 8 <= len(data)


def _flatten(image: Image.Image) -> np.ndarray:
    if image.mode in SIXTEEN_BITS:  # the high byte, as libpng does with 16-bit colour
        grey = np.clip(np.asarray(image, dtype=np.int64) >> 8, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if not image.has_transparency_data:
        return np.asarray(_to_srgb(image))
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")  # which would be another copy
    flat = Image.new("RGB", image.size, WHITE)
    flat.paste(_to_srgb(rgba.convert("RGB")), mask=rgba.getchannel("A"))
    return np.asarray(flat)


def _to_srgb(image: Image.Image) -> Image.Image:
    """Convert to sRGB by the embedded profile; a broken or foreign profile counts as none."""
    if image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("RGB")
    profile = image.info.get("icc_profile")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if ImageCms.getProfileDescription(source).strip() != PLAIN_SRGB:
                target = ImageCms.createProfile("sRGB")
                return ImageCms.profileToProfile(image, source, target, outputMode="RGB") or image
        except (ImageCms.PyCMSError, OSError):
            pass
    return image if image.mode == "RGB" else image.convert("RGB")
