"""Images that cannot be used are counted by reason; nothing is decoded to find out."""

import hashlib
import struct
import zlib

import pytest
from PIL import Image

from enogu.posts.audit import Limits, look

from .conftest import draw

LIMITS = Limits(min_side=16, max_pixels=64_000_000, animated=False)


def png_header(width, height):
    """A PNG of any size, up to where its pixels would begin."""
    content = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13)
    return start + content + struct.pack(">I", zlib.crc32(content)) + b"\0\0\0\1IDAT"


def test_a_sound_image_gives_its_size_and_hash(tmp_path):
    path = draw(tmp_path / "a.png", 40, 30)
    seen = look(tmp_path, "a.png", LIMITS)
    assert (seen.width, seen.height, seen.reason) == (40, 30, "")
    assert seen.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("orientation", "size"), [(1, (40, 30)), (3, (40, 30)), (6, (30, 40)), (8, (30, 40))])
def test_a_turned_photo_has_the_size_that_is_shown(tmp_path, orientation, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg", exif=exif)
    seen = look(tmp_path, "a.jpg", LIMITS)
    assert (seen.width, seen.height) == size


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<html>not found</html>", "unreadable"),
        (b"\x89PNG\r\n\x1a\n\0\0", "unreadable"),
        (b"\xff\xd8\xff", "unreadable"),
        (png_header(1, 1), "too small"),
        (png_header(4000, 15), "too small"),
        (png_header(10_000, 10_000), "too large"),
        (png_header(2**31 - 1, 2**31 - 1), "too large"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_broken_and_monstrous_images(tmp_path, content, reason):
    (tmp_path / "a.png").write_bytes(content)
    assert look(tmp_path, "a.png", LIMITS).reason == reason


def test_an_image_that_is_not_there(tmp_path):
    assert look(tmp_path, "a.png", LIMITS).reason == "missing"
    (tmp_path / "folder.png").mkdir()
    assert look(tmp_path, "folder.png", LIMITS).reason == "unreadable"


@pytest.mark.parametrize("ext", ["gif", "webp", "png"])
def test_animations_are_out_unless_asked_for(tmp_path, ext):
    frames = [Image.new("RGB", (20, 20), (shade, 0, 0)) for shade in (0, 120, 240)]
    frames[0].save(tmp_path / f"a.{ext}", save_all=True, append_images=frames[1:], duration=50)
    assert look(tmp_path, f"a.{ext}", LIMITS).reason == "animated"
    assert look(tmp_path, f"a.{ext}", Limits(16, 64_000_000, animated=True)).reason == ""


def test_paths_do_not_leave_the_image_folder(tmp_path):
    draw(tmp_path / "secret.png")
    draw(tmp_path / "images/b.png")
    (tmp_path / "images/link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "door").symlink_to(tmp_path / "images")
    for image in ("../secret.png", str(tmp_path / "secret.png"), "link.png"):
        assert look(tmp_path / "images", image, LIMITS).reason == "outside the image folder"
    assert look(tmp_path / "door", "b.png", LIMITS).reason == ""
