"""The audit's hash, a tagger and the VAE are given the same pixels of every file that decoders disagree on."""

import csv
import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import onnx
import polars as pl
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image, ImageCms

from enogu.core.networks.vae import VAE
from enogu.core.records.files import write_json
from enogu.core.records.job import Job
from enogu.core.records.perceptual import pixel_hash
from enogu.core.records.posts import MANIFEST_SCHEMA
from enogu.latents.config import LatentsConfig
from enogu.latents.stage import run as run_latents
from enogu.posts.audit import Limits, look
from enogu.recipe.kinds import EMBEDDED, PACKAGE
from enogu.tagging.config import SightingsConfig
from enogu.tagging.sightings import Sightings
from enogu.tagging.stage import run_sightings

SIDE = 64  # of the pictures, the tagger and the bucket: nothing is resized
VALUES = SIDE * SIDE * 3


def drawn(seed: int, mode: str = "RGB") -> Image.Image:
    """Return soft colours; with alpha, they go on under what is transparent."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 4), np.uint8)
    return Image.fromarray(cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR), "RGBA").convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(drawn(1 + len(kind)), kind, exif=exif)


def deep(channels: int) -> bytes:
    rng = np.random.default_rng(channels)
    return cv2.imencode(".png", rng.integers(0, 65536, (SIDE, SIDE, channels), np.uint16))[1].tobytes()


def keyed() -> bytes:
    return encoded(drawn(9).quantize(32), "PNG", transparency=3)


def profiled(kind: str, mode: str = "RGB") -> bytes:
    """Embed sRGB's profile with another red, so that there is something to convert."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    place = profile.index(b"rXYZ", 128)
    offset = int.from_bytes(profile[place + 4 : place + 8], "big")
    profile[offset + 8 : offset + 12] = (45_000).to_bytes(4, "big")  # another red
    return encoded(drawn(10, mode), kind, icc_profile=bytes(profile))


def moving(kind: str) -> bytes:
    frames = [drawn(20 + len(kind) + number) for number in range(3)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


TRAPS: Mapping[str, Callable[[], bytes]] = MappingProxyType(
    {
        "plain.jpg": lambda: encoded(drawn(30), "JPEG"),
        "plain.webp": lambda: encoded(drawn(31), "WEBP"),
        "grey.jpg": lambda: encoded(drawn(32, "L"), "JPEG"),
        "turned.jpg": lambda: turned("JPEG"),
        "turned.png": lambda: turned("PNG"),
        "alpha.png": lambda: encoded(drawn(33, "RGBA"), "PNG"),
        "alpha.webp": lambda: encoded(drawn(34, "RGBA"), "WEBP", lossless=True, exact=True),
        "grey-alpha.png": lambda: encoded(drawn(35, "LA"), "PNG"),
        "palette.png": keyed,
        "deep-grey.png": lambda: deep(1),
        "deep.png": lambda: deep(3),
        "deep-alpha.png": lambda: deep(4),
        "profile.png": lambda: profiled("PNG"),
        "profile.jpg": lambda: profiled("JPEG"),
        "cmyk.jpg": lambda: encoded(drawn(36, "CMYK"), "JPEG"),
        "moving.gif": lambda: moving("GIF"),
        "moving.webp": lambda: moving("WEBP"),
        "misnamed.png": lambda: encoded(drawn(37), "JPEG"),
    }
)


@pytest.fixture(scope="module")
def posts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write every trap, in a posts folder."""
    folder = tmp_path_factory.mktemp("posts")
    for name, write in TRAPS.items():
        (folder / name).write_bytes(write())
    frame = pl.DataFrame({"id": range(len(TRAPS)), "image": list(TRAPS)}).with_columns(
        rating=pl.lit("general"),
        sha256=pl.Series([hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in TRAPS]),
        width=pl.lit(SIDE),
        height=pl.lit(SIDE),
    )
    missing = [pl.lit(None).alias(name) for name in MANIFEST_SCHEMA if name not in frame.columns]
    frame.with_columns(missing).select(*MANIFEST_SCHEMA).cast(MANIFEST_SCHEMA).write_parquet(
        folder / "manifest.parquet"
    )  # type: ignore[arg-type]
    write_json(folder / "posts.json", {"root": str(folder)})
    return folder


@pytest.fixture(scope="module")
def audited(posts: Path) -> list[str]:
    """The hashes that the audit keeps, in order."""
    limits = Limits(min_side=1, max_pixels=10**6, animated=True)
    found = [look(posts, name, limits) for name in TRAPS]
    assert [one.reason for one in found] == [""] * len(TRAPS)
    assert len({one.pixel_hash for one in found}) == len(TRAPS)
    return [one.pixel_hash for one in found]


def echo(folder: Path) -> Path:
    """Write a tagger whose tags are the values that it is given, over 255."""
    constants = [
        helper.make_tensor("shape", TensorProto.INT64, [2], [0, VALUES]),
        helper.make_tensor("most", TensorProto.FLOAT, [], [255.0]),
    ]
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["flat"]), helper.make_node("Div", ["flat", "most"], ["y"])]
    entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", SIDE, SIDE, 3])
    end = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", VALUES])
    graph = helper.make_graph(nodes, "echo", [entry], [end], constants)
    folder.mkdir()
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "model.onnx"
    )
    (folder / "adapter.toml").write_text('colours = "RGB"\n')
    with (folder / "selected_tags.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["tag_id", "name", "category", "count"])
        writer.writerows([number, f"value_{number}", 0, 1] for number in range(VALUES))
    return folder


def test_a_tagger_is_shown_what_the_audit_hashed(posts: Path, audited: list[str], tmp_path: Path) -> None:
    inputs = {"posts": {"p": posts}, "taggers": {"echo": echo(tmp_path / "echo")}}
    run_sightings(SightingsConfig(posts="p", taggers=("echo",), floor=0.0), Job(out=tmp_path / "s", inputs=inputs))
    sightings = Sightings.open(tmp_path / "s")
    (part,) = sightings.parts()
    values = np.rint(sightings.probabilities(part, sightings.taggers[0]) * 255).astype(np.uint8)
    assert [pixel_hash(picture) for picture in values.reshape(-1, SIDE, SIDE, 3)] == audited


def test_the_vae_is_given_what_the_audit_hashed(
    posts: Path, audited: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []
    moments = VAE.moments

    def noted(self: VAE, rgb: torch.Tensor) -> torch.Tensor:
        pictures = ((rgb.float() + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        given.extend(pixel_hash(picture) for picture in pictures)
        return moments(self, rgb)

    monkeypatch.setattr(VAE, "moments", noted)
    config = LatentsConfig(posts="p", model="m", area=SIDE * SIDE, step=16)
    model = PACKAGE / EMBEDDED["model"]["mini-sd1"]
    run_latents(config, Job(out=tmp_path / "l", inputs={"posts": {"p": posts}, "model": {"m": model}}, threads=1))
    assert sorted(given) == sorted(audited)
