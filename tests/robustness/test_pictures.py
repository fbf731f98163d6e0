"""Pictures as the world has them, from posts to latents: the unfit are counted and listed, the rest goes on."""

import io
import json
import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from tests.robustness.conftest import copy_behind

STAGE = """
[recipe]
name = "odd"
family = "pico"
seed = 3
[machine]
device = "cpu"
threads = 1
[vae.v]
pictures = 4
images = 12
batch = 4
[posts.p]
source = "posts.jsonl"
[captions.c]
posts = "p"
[latents.l]
posts = "p"
model = "v"
area = 1024
step = 16
"""


def encoded(image: Image.Image, kind: str, **how: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def drawing(mode: str = "RGB", side: int = 48) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 255, (side, side, 4), np.uint8)
    return Image.fromarray(values, "RGBA").convert(mode)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, depth: int, colour: int, rows: bytes) -> bytes:
    """Write a PNG that Pillow cannot write: 16 bits per channel, or a size that lies."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def frames(kind: str) -> bytes:
    first, second = drawing(), drawing().rotate(90)
    return encoded(first, kind, save_all=True, append_images=[second])


SIXTEEN = np.random.default_rng(1).integers(0, 65535, (48, 48, 3)).astype(">u2")
JPEG = encoded(drawing(), "JPEG")
GOOD = {
    "rgb.png": encoded(drawing(), "PNG"),
    "rgb.jpg": JPEG,
    "alpha.png": encoded(drawing("RGBA"), "PNG"),
    "alpha.webp": encoded(drawing("RGBA"), "WEBP"),
    "palette.gif": encoded(drawing("P"), "GIF"),
    "palette-alpha.png": encoded(drawing("P"), "PNG", transparency=3),
    "cmyk.jpg": encoded(drawing("CMYK"), "JPEG"),
    "grey.png": encoded(drawing("L"), "PNG"),
    "grey-alpha.png": encoded(drawing("LA"), "PNG"),
    "bits.png": encoded(drawing("1"), "PNG"),
    "grey16.png": encoded(Image.fromarray(SIXTEEN[..., 0].astype(np.uint16)), "PNG"),
    "rgb16.png": png(48, 48, depth=16, colour=2, rows=b"".join(b"\0" + row.tobytes() for row in SIXTEEN)),
    "turned.jpg": encoded(
        drawing(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    ),
    "wrong-suffix.png": encoded(drawing().rotate(180), "JPEG"),
}
UNFIT = {  # seen by the posts stage, in the header or when decoded
    "missing.png": (None, "missing"),
    "empty.png": (b"", "empty"),
    "text.png": (b"<html>404</html>", "unreadable"),
    "headless.jpg": (JPEG[:10], "unreadable"),
    "truncated.webp": (encoded(drawing(), "WEBP")[:-200], "unreadable"),
    "one-pixel.png": (encoded(drawing(side=1), "PNG"), "too small"),
    "hundred-megapixels.png": (encoded(Image.new("L", (10_000, 10_000)), "PNG", compress_level=1), "too large"),
    "bomb.png": (png(100_000, 100_000, depth=8, colour=2, rows=b"\0"), "too large"),
    "animated.gif": (frames("GIF"), "animated"),
    "animated.png": (frames("PNG"), "animated"),
    "animated.webp": (frames("WEBP"), "animated"),
    "../outside.png": (JPEG, "outside the image folder"),
    "truncated.jpg": (JPEG[: len(JPEG) // 2], "truncated"),
    "truncated.png": (GOOD["rgb.png"][: len(GOOD["rgb.png"]) // 2], "truncated"),
    "scrambled.png": (GOOD["rgb.png"][:100] + bytes(500) + GOOD["rgb.png"][600:], "unreadable"),
}


@pytest.fixture
def odd(tmp_path: Path, undisturbed) -> Path:
    """Return a recipe beside a dump of every picture above; its autoencoder is made already."""
    folder = tmp_path / "booru"
    folder.mkdir()
    lines = []
    for id, (name, data) in enumerate([*GOOD.items(), *((n, d) for n, (d, _) in UNFIT.items())], 1):
        if data is not None:
            (folder / name).write_bytes(data)
        lines.append({"id": id, "md5": "0" * 32, "rating": "g", "file_name": name, "tag_string_general": "1girl"})
    junk = ["not JSON", "[]", "{}", ""]
    text = [*junk, *(json.dumps(line) for line in lines)]
    (folder / "posts.jsonl").write_text("".join(line + "\n" for line in text))
    (folder / "r.toml").write_text(STAGE)
    copy_behind(undisturbed[0], ("vae",), folder / "work")
    return folder / "r.toml"


def listed(work: Path, kind: str) -> list[dict[str, str]]:
    (path,) = work.glob(f"{kind}-*/skipped.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def summary(work: Path, kind: str) -> dict[str, object]:
    (path,) = work.glob(f"{kind}-*/done.json")
    return json.loads(path.read_text())["summary"]


def test_what_cannot_be_used_is_listed_and_the_rest_goes_on(odd, runs):
    work = odd.parent / "work"
    ended = runs("run", odd, work=work)
    assert ended.status == 0, ended.said
    assert "Warning" not in ended.said

    unfit = {row["at"]: row["reason"] for row in listed(work, "posts") if "post" in row}
    assert unfit == {name: reason for name, (_, reason) in UNFIT.items()}
    lines = {row["at"]: row["reason"] for row in listed(work, "posts") if "post" not in row}
    assert lines == {"line 1": "not JSON", "line 2": "not an object", "line 3": "no id", "line 4": "empty line"}
    counts = Counter(reason for _, reason in UNFIT.values()) + Counter(lines.values())
    assert summary(work, "posts")["skipped"] == counts
    assert summary(work, "posts")["posts"] == len(GOOD)

    assert summary(work, "latents")["skipped"] == {}
    assert summary(work, "latents")["pictures"] == len(GOOD)
    (index,) = work.glob("latents-*/index.parquet")
    assert pl.read_parquet(index)["post"].to_list() == list(range(1, len(GOOD) + 1))


def test_pictures_that_went_bad_between_two_stages(odd, runs):
    work, folder = odd.parent / "work", odd.parent
    assert runs("run", odd, "posts.p", work=work).status == 0
    (folder / "rgb.png").unlink()
    (folder / "alpha.png").write_bytes(GOOD["grey.png"])
    ended = runs("run", odd, "latents.l", work=work)
    assert ended.status == 0, ended.said
    broken = {row["image"]: row["reason"] for row in listed(work, "latents")}
    assert (broken["rgb.png"], broken["alpha.png"]) == ("missing", "changed")


def test_no_picture_is_left(odd, runs):
    work = odd.parent / "work"
    for name in GOOD:
        (odd.parent / name).unlink()
    ended = runs("run", odd, work=work)
    assert ended.status == 1
    assert "enogu: posts.p: every image is unfit, as " in ended.said
    assert "Traceback" not in ended.said
    assert not list(work.glob("posts-*/done.json"))
    assert len([row for row in listed(work, "posts") if "post" in row]) == len(GOOD) + len(UNFIT)


def test_no_picture_can_be_encoded(odd, runs):
    work = odd.parent / "work"
    assert runs("run", odd, "posts.p", work=work).status == 0
    for name in GOOD:
        (odd.parent / name).write_bytes(JPEG[:700])
    ended = runs("run", odd, "latents.l", work=work)
    assert ended.status == 1
    assert f"enogu: latents.l: none of {len(GOOD)} pictures could be encoded" in ended.said
    assert "Traceback" not in ended.said


@pytest.mark.parametrize(
    ("where", "step", "advice"),
    [
        ('tags_all = ["no_such_tag"]', "tags_all", "widen posts.where at the step that leaves none"),
        ('rating = ["explicit"]', "rating", "where.rating lets none of these in: 29 general"),
        ("score_min = 1", "score_min", "widen posts.where at the step that leaves none"),
    ],
)
def test_an_empty_selection(where, step, advice, odd, runs):
    odd.write_text(STAGE.replace('source = "posts.jsonl"', f'source = "posts.jsonl"\nwhere = {{ {where} }}'))
    ended = runs("run", odd, work=odd.parent / "work")
    assert ended.status == 1
    assert f"           0  {step}" in ended.said
    assert f"enogu: posts.p: {advice}" in ended.said
    assert "Traceback" not in ended.said
