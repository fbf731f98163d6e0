"""What is seen of images: every trap has a picture made for it, and every figure is known from how that was made."""

import hashlib
import io
import struct
import zlib
from functools import cache

import cv2
import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageCms

from enogu.core.records.perceptual import perceptual_hash, pixel_hash
from enogu.core.records.progress import silent
from enogu.core.records.work import Threads
from enogu.posts.audit import Limits, audit, look
from enogu.posts.compression import jpeg_quality, webp_quality
from enogu.posts.marks import SURE, marks

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


@cache
def drawing(seed=0, side=400):
    """Soft colours, sharp shapes and a little noise."""
    rng = np.random.default_rng(seed)
    layers = [rng.normal(size=(2**n, 2**n, 3)) * 0.6**n for n in range(1, 9)]
    soft = sum(cv2.resize(layer, (side, side), interpolation=cv2.INTER_CUBIC) for layer in layers)
    picture = ((soft - soft.min()) / np.ptp(soft) * 255).astype(np.uint8)
    for x, y, radius, *colour in rng.integers((0, 0, 5, 0, 0, 0), (side, side, 90, 256, 256, 256), (30, 6)).tolist():
        cv2.circle(picture, (x, y), radius, colour, -1 if radius % 2 else 3, cv2.LINE_AA)
    return np.clip(picture + rng.normal(0, 1.5, picture.shape), 0, 255).astype(np.uint8)


def encoded(picture, kind, **options):
    buffer = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def as_jpeg(picture, quality):
    return np.asarray(Image.open(io.BytesIO(encoded(picture, "JPEG", quality=quality))).convert("RGB"))


def traps():
    """Yield name, content and the traits that the audit must tell."""
    flat = Image.fromarray(drawing(side=64))
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = flat.convert("RGBA")
    clear.putalpha(flat.convert("L"))
    keyed = flat.convert("P")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    deep = cv2.imencode(".png", np.full((20, 20), 60000, np.uint16))[1].tobytes()
    deep_colour = cv2.imencode(".png", np.full((20, 20, 3), 60000, np.uint16))[1].tobytes()
    yield "plain.png", encoded(flat, "PNG"), []
    yield "turned.jpg", encoded(flat, "JPEG", exif=exif), ["turned"]
    yield "clear.webp", encoded(clear, "WEBP"), ["transparent"]
    yield "palette.png", encoded(flat.convert("P"), "PNG"), ["palette"]
    yield "keyed.png", encoded(keyed, "PNG", transparency=3), ["palette", "transparent"]
    yield "deep.png", deep, ["16 bit", "grey"]
    yield "deep_colour.png", deep_colour, ["16 bit"]
    yield "ink.jpg", encoded(flat.convert("CMYK"), "JPEG"), ["cmyk"]
    yield "profile.jpg", encoded(flat, "JPEG", icc_profile=profile), ["profile"]
    yield "grey.jpeg", encoded(flat.convert("L"), "JPEG"), ["grey"]
    yield "really_png.jpg", encoded(flat, "PNG"), ["wrong extension"]
    yield "spelt.JPEG", encoded(flat, "JPEG"), []
    yield "moving.gif", encoded(keyed, "GIF", save_all=True, append_images=[keyed.rotate(90)]), ["palette", "animated"]


@pytest.mark.parametrize(
    ("name", "content", "traits"), list(traps()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_trap_is_named(tmp_path, name, content, traits):
    (tmp_path / name).write_bytes(content)
    seen = look(tmp_path, name, Limits(16, 64_000_000, animated=True))
    assert (seen.reason, list(seen.traits)) == ("", traits)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_truncated_image_is_out_and_keeps_its_hash(tmp_path, kind):
    data = encoded(drawing(), kind)[:-2000]
    (tmp_path / "a.png").write_bytes(data)
    seen = look(tmp_path, "a.png", LIMITS)
    assert seen.reason in ("truncated", "unreadable")
    assert seen.sha256 == hashlib.sha256(data).hexdigest()


def test_the_same_pixels_in_another_file_have_the_same_pixel_hash(tmp_path):
    picture = drawing()
    for name, kind, options in (("a.png", "PNG", {}), ("b.webp", "WEBP", {"lossless": True}), ("c.bmp", "BMP", {})):
        (tmp_path / name).write_bytes(encoded(picture, kind, **options))
    (tmp_path / "d.jpg").write_bytes(encoded(picture, "JPEG", quality=95))
    seen = [look(tmp_path, name, LIMITS) for name in ("a.png", "b.webp", "c.bmp", "d.jpg")]
    hashes = [one.pixel_hash for one in seen]
    assert hashes[0] == hashes[1] == hashes[2] == pixel_hash(picture) != hashes[3]
    assert len({one.sha256 for one in seen}) == 4
    assert pixel_hash(np.zeros((2, 8, 3), np.uint8)) != pixel_hash(np.zeros((8, 2, 3), np.uint8))


def test_near_pictures_have_near_hashes_and_others_do_not():
    hashes = [perceptual_hash(drawing(seed)) for seed in range(12)]
    apart = [(a ^ b).bit_count() for a in hashes for b in hashes if a != b]
    for seed, of_original in enumerate(hashes):
        picture = drawing(seed)
        small = cv2.resize(picture, (150, 150), interpolation=cv2.INTER_AREA)
        dark = (picture * 0.9).astype(np.uint8)
        for copy in (as_jpeg(picture, 60), small, dark):
            assert (perceptual_hash(copy) ^ of_original).bit_count() <= 4
    assert len(apart) == 12 * 11
    assert min(apart) > 10


def test_phash_is_the_published_one():
    """By its definition, with a DCT written out as a matrix."""
    picture = drawing(5)
    grey = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA).astype(float)
    wave = np.cos(np.pi * np.arange(32)[:, None] * (2 * np.arange(32) + 1) / 64) * np.sqrt(2 / 32)
    wave[0] /= np.sqrt(2)
    low = (wave @ grey @ wave.T)[:8, :8].ravel()
    bits = "".join(str(int(value > np.median(low[1:]))) for value in low)
    assert perceptual_hash(picture) == int(bits, 2)


@pytest.mark.parametrize("quality", [5, 30, 50, 75, 85, 92, 95, 100])
def test_jpeg_quality_is_what_the_encoder_was_asked_for(quality):
    data = encoded(drawing(), "JPEG", quality=quality)
    assert jpeg_quality(Image.open(io.BytesIO(data)).quantization) == quality
    assert jpeg_quality({}) is None


@pytest.mark.parametrize("alpha", [False, True])
def test_webp_quality_is_about_what_the_encoder_was_asked_for(alpha):
    image = Image.fromarray(drawing())
    if alpha:
        image.putalpha(image.convert("L"))
    found = [webp_quality(encoded(image, "WEBP", quality=quality)) for quality in (20, 40, 60, 80, 95)]
    assert found == sorted(found)
    assert all(abs(ours - asked) <= 4 for ours, asked in zip(found, (20, 40, 60, 80, 95), strict=True))
    assert webp_quality(encoded(image, "WEBP", lossless=True)) == 100
    assert webp_quality(b"RIFF") is None


RESAMPLED = {
    "nearest, twice": (2, cv2.INTER_NEAREST, 2),
    "linear, twice": (2, cv2.INTER_LINEAR, 2),
    "nearest, three times": (3, cv2.INTER_NEAREST, 3),
    "cubic, one and a half": (1.5, cv2.INTER_CUBIC, 3),
    "area, three fifths": (0.6, cv2.INTER_AREA, 3),
}


@pytest.mark.parametrize("how", RESAMPLED)
def test_resampling_leaves_the_period_of_its_weights(how):
    scale, interpolation, period = RESAMPLED[how]
    clean = drawing(3, 768)
    assert max(marks(clean)[:2]) < SURE
    found = marks(cv2.resize(clean, None, fx=scale, fy=scale, interpolation=interpolation))
    assert found.resampled > SURE > found.blocks
    assert found.period == pytest.approx(period, rel=0.02)


def test_blocks_of_a_jpeg_are_told_from_a_jpeg_that_was_resampled():
    clean = drawing(4, 768)
    rough = as_jpeg(clean, 40)
    assert marks(rough).blocks > 2 * SURE
    assert marks(rough).resampled < SURE
    smaller = marks(cv2.resize(rough, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA))
    assert smaller.resampled > 2 * SURE
    assert 8 * 0.75 / smaller.period == pytest.approx(round(8 * 0.75 / smaller.period), abs=0.05)


def test_flat_and_small_pictures_have_no_marks():
    assert marks(np.full((300, 300, 3), 200, np.uint8)).resampled < SURE
    assert marks(drawing(0, 60)) == (0, 0, 0)


def test_a_killed_audit_goes_on_behind_what_it_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("enogu.posts.audit.QUEUED", 4)
    for number in range(10):
        draw(tmp_path / f"{number}.png", 20 + number, 30)
    posts = pl.DataFrame({"id": range(10), "image": [f"{number}.png" for number in range(10)]})
    looks, broken = [], []

    def watched(root, image, limits):
        looks.append(image)
        if image == "6.png" and not broken:
            broken.append(image)
            raise MemoryError
        return look(root, image, limits)

    monkeypatch.setattr("enogu.posts.audit.look", watched)
    run = lambda: audit(posts, tmp_path, LIMITS, executor=Threads(1), progress=silent, keep=tmp_path / "audit")  # noqa: E731
    with pytest.raises(MemoryError):
        run()
    looks.clear()
    found = run()
    assert "3.png" not in looks
    assert found["width"].to_list() == list(range(20, 30))
    kept = pl.read_parquet(tmp_path / "audit" / "*.parquet")
    assert kept["image"].to_list() == posts["image"].to_list()
    assert kept["phash"].dtype == pl.UInt64
    looks.clear()
    posts = posts[1:]  # another selection: nothing of it is taken over
    assert run()["width"].to_list() == list(range(21, 30))


def test_what_was_unfit_is_looked_at_again(tmp_path, monkeypatch):
    monkeypatch.setattr("enogu.posts.audit.QUEUED", 4)
    for number in (0, 1, 3, 8, 9):
        draw(tmp_path / f"{number}.png", 20 + number, 30)
    posts = pl.DataFrame({"id": range(10), "image": [f"{number}.png" for number in range(10)]})
    run = lambda: audit(posts, tmp_path, LIMITS, executor=Threads(1), progress=silent, keep=tmp_path / "audit")  # noqa: E731
    assert run().filter(reason="missing")["id"].to_list() == [2, 4, 5, 6, 7]
    for number in (2, 4, 5, 6):
        draw(tmp_path / f"{number}.png", 20 + number, 30)
    looks = []
    monkeypatch.setattr("enogu.posts.audit.look", lambda *args: looks.append(args[1]) or look(*args))
    found = run()
    assert looks == ["2.png", "4.png", "5.png", "6.png", "7.png"]
    assert found["width"].to_list() == [20, 21, 22, 23, 24, 25, 26, 0, 28, 29]
    assert found.filter(reason="missing")["id"].to_list() == [7]
    kept = pl.read_parquet(tmp_path / "audit" / "*.parquet")
    assert kept.select("image", "width", "reason").equals(found.select("image", "width", "reason"))
