"""Every trap of decoding, against values known from how the picture was made."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from enogu.core.records.picture import PictureError, read_picture, resize_to_cover


def smooth(width: int = 60, height: int = 40) -> np.ndarray:
    coarse = np.random.default_rng(7).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_lossless_pictures_come_back_as_they_were(kind: str, mode: str) -> None:
    image = Image.fromarray(smooth()).convert(mode)
    assert np.array_equal(read_picture(encoded(image, kind)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("options", [{"quality": 90}, {"quality": 70, "progressive": True}])
@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_the_fast_decoder_agrees_with_the_reference_decoder(kind: str, options: dict[str, object]) -> None:
    data = encoded(Image.fromarray(smooth()), kind, **options)
    reference = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(read_picture(data), reference)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_turns_the_picture_upright(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by 90 degrees
    flat = np.zeros((16, 32, 3), np.uint8)
    flat[:, :16] = 255  # white on the left: on top when upright
    picture = read_picture(encoded(Image.fromarray(flat), kind, exif=exif))
    assert picture.shape == (32, 16, 3)
    assert picture[2].min() > 240
    assert picture[-3].max() < 15


def test_transparency_lies_on_white_whatever_hides_under_it() -> None:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[..., 0] = 200
    rgba[:4, :, 3] = 255
    rgba[4, :, 3] = 51  # one fifth
    for data in (
        encoded(Image.fromarray(rgba), "PNG"),
        encoded(Image.fromarray(rgba), "WEBP", lossless=True, exact=True),
    ):
        picture = read_picture(data)
        assert picture[0, 0].tolist() == [200, 0, 0]
        assert picture[4, 0].tolist() == [244, 204, 204]
        assert picture[7, 7].tolist() == [255, 255, 255]


def test_palette_and_colour_key_transparency_lie_on_white() -> None:
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.paste(0, (0, 0, 8, 4))
    keyed = Image.new("RGB", (8, 8), (40, 50, 60))
    keyed.paste((1, 2, 3), (0, 0, 8, 4))
    for data, top in (
        (encoded(palette, "PNG", transparency=1), [10, 20, 30]),
        (encoded(palette, "GIF", transparency=1), [10, 20, 30]),
        (encoded(keyed, "PNG", transparency=(40, 50, 60)), [1, 2, 3]),
    ):
        picture = read_picture(data)
        assert picture[0, 0].tolist() == top
        assert picture[7, 7].tolist() == [255, 255, 255]


def test_grey_with_alpha() -> None:
    image = Image.merge("LA", (Image.new("L", (4, 4), 10), Image.new("L", (4, 4), 0)))
    assert read_picture(encoded(image, "PNG")).min() == 255


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_keep_their_high_byte(channels: int) -> None:
    deep = np.full((4, 4, channels), 60000, np.uint16)
    deep[..., 3:] = 65535
    data = cv2.imencode(".png", deep)[1].tobytes()
    assert np.unique(read_picture(data)).tolist() == [60000 >> 8]


def test_cmyk_is_ink_not_light() -> None:
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    picture = read_picture(encoded(cyan, "JPEG", quality=95)).astype(int)
    assert np.abs(picture - [0, 255, 255]).max() <= 3


def test_an_embedded_profile_is_converted_to_srgb() -> None:
    """BT.709 primaries with gamma 1: linear 0.5 is 188 in sRGB (IEC 61966-2-1: 1.055 * 0.5**(1/2.4) - 0.055)."""
    profile = linear_profile()
    picture = read_picture(encoded(Image.new("RGB", (8, 8), (128, 128, 128)), "PNG", icc_profile=profile))
    assert np.abs(picture.astype(int) - 188).max() <= 1


def linear_profile() -> bytes:
    """Return sRGB's own profile with its three tone curves replaced by straight lines."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", profile, 128)
    for entry in range(count):
        name, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * entry)
        if name in (b"rTRC", b"gTRC", b"bTRC"):
            struct.pack_into(">4sII", profile, offset, b"curv", 0, 0)  # no entries: identity
    return bytes(profile)


def test_a_broken_exif_block_counts_as_none() -> None:
    data = encoded(Image.fromarray(smooth()), "JPEG", exif=b"Exif\x00\x00MM\x00junk")
    assert read_picture(data).shape == (40, 60, 3)


def test_a_broken_profile_counts_as_none() -> None:
    data = encoded(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG", icc_profile=b"not a profile")
    assert read_picture(data)[0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_animations_give_their_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
    picture = read_picture(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert np.abs(picture.astype(int) - [255, 0, 0]).max() <= 2


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {}), ("GIF", {})]
)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_pictures_are_refused(kind: str, options: dict[str, object], share: float) -> None:
    data = encoded(Image.fromarray(smooth(300, 200)), kind, **options)
    with pytest.raises(PictureError):
        read_picture(data[: int(len(data) * share)])


def test_a_truncated_jpeg_with_a_whole_thumbnail_inside_is_refused() -> None:
    thumbnail = encoded(Image.fromarray(smooth(16, 16)), "JPEG")
    data = encoded(Image.fromarray(smooth(300, 200)), "JPEG")
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + data[2:]
    assert read_picture(data).shape == (200, 300, 3)
    with pytest.raises(PictureError, match="truncated"):
        read_picture(data[: len(data) * 3 // 4])


def test_huge_pictures_are_refused_by_their_header() -> None:
    for width, height in ((10_001, 10_000), (60_000, 60_000)):
        with (
            pytest.raises(PictureError) as caught,
            pytest.warns(Image.DecompressionBombWarning) if width < 20_000 else io.BytesIO(),
        ):
            read_picture(png_header(width, height))
        assert caught.value.reason == "too large"
    with pytest.raises(PictureError, match="100x50 is over 4999"):
        read_picture(encoded(Image.new("RGB", (100, 50)), "PNG"), max_pixels=4999)


def test_reasons(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").touch()
    (tmp_path / "dot.png").write_bytes(encoded(Image.new("RGB", (1, 1)), "PNG"))
    (tmp_path / "line.png").write_bytes(encoded(Image.new("RGB", (500, 1)), "PNG"))
    found = {}
    for name in ("folder", "text", "empty", "dot", "line", "absent"):
        with pytest.raises(PictureError) as caught:
            read_picture(tmp_path / f"{name}.png")
        found[name] = caught.value.reason
    assert found == {
        "folder": "unreadable", "text": "unreadable", "empty": "empty",
        "dot": "too small", "line": "too small", "absent": "missing",
    }  # fmt: skip


def test_a_flipped_byte_in_a_png_is_refused() -> None:
    data = bytearray(encoded(Image.fromarray(smooth(300, 200)), "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(PictureError):
        read_picture(bytes(data))


@pytest.mark.parametrize(("width", "height"), [(64, 64), (96, 48), (48, 96), (300, 200), (8, 8)])
def test_cover_keeps_the_aspect_and_the_centre(width: int, height: int) -> None:
    """A picture whose red is x and whose green is y shows where each pixel of the crop came from."""
    x, y = np.meshgrid(np.linspace(0, 255, 200), np.linspace(0, 255, 150))
    picture = np.stack([x, y, x * 0], axis=2).astype(np.uint8)
    crop, left, top = resize_to_cover(picture, width, height)
    assert crop.shape == (height, width, 3)
    assert min(left, top) == 0
    scale = max(width / 200, height / 150)
    half_a_pixel = 0.5 * 255 / (150 * scale)
    assert abs(crop[..., 0].mean() - 127) < 2 + half_a_pixel
    assert abs(crop[..., 1].mean() - 127) < 2 + half_a_pixel
    assert left == (round(200 * scale) - width) // 2
    assert top == (round(150 * scale) - height) // 2


def test_shrinking_averages_instead_of_skipping() -> None:
    """One-pixel stripes of black and white become mid-grey, whatever the phase."""
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    crop, _, _ = resize_to_cover(stripes, 64, 64)
    assert np.abs(crop.astype(int) - 127.5).max() <= 1


def test_a_picture_of_the_right_size_is_untouched() -> None:
    picture = smooth(64, 64)
    crop, left, top = resize_to_cover(picture, 64, 64)
    assert np.array_equal(crop, picture)
    assert (left, top) == (0, 0)
