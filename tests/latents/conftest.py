"""A small posts folder with every kind of picture, and a small VAE with fixed random weights."""

import hashlib
import json
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from enogu.core.networks.family import VAEWidths
from enogu.core.networks.vae import VAE
from enogu.core.records.job import Job
from enogu.core.records.posts import MANIFEST_SCHEMA
from enogu.latents import moments, stage
from enogu.latents.config import LatentsConfig


def tiny_vae(seed: int = 0) -> VAE:
    torch.manual_seed(seed)
    return VAE(VAEWidths(channels=8, multipliers=(1, 1, 2, 2), blocks=1, latent=4, groups=4)).eval()


def picture(seed: int, width: int, height: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def draw_plain(images: Path, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        width, height = np.random.default_rng(number).integers(50, 200, 2).tolist()
        kind = ("png", "jpg", "webp")[number % 3]
        Image.fromarray(picture(number, width, height)).save(images / f"plain{number:03}.{kind}")


def draw_odd(images: Path) -> None:
    pixels = Image.fromarray(picture(99, 120, 80))
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels.save(images / "turned.jpg", exif=exif)
    pixels.save(images / "moving.gif", save_all=True, append_images=[pixels.rotate(90)])
    pixels.convert("CMYK").save(images / "ink.jpg")
    pixels.convert("P").save(images / "palette.png")
    clear = pixels.convert("RGBA")
    clear.putalpha(pixels.convert("L"))
    clear.save(images / "clear.png")
    cv2.imwrite(str(images / "deep.png"), picture(98, 70, 70).astype(np.uint16) * 257)


def draw_broken(images: Path) -> None:
    Image.fromarray(picture(97, 300, 200)).save(images / "truncated.jpg")
    data = (images / "truncated.jpg").read_bytes()
    (images / "truncated.jpg").write_bytes(data[: len(data) // 2])
    Image.new("RGB", (1, 1)).save(images / "dot.png")
    head = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    (images / "bomb.png").write_bytes(bomb + struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND")))
    (images / "empty.png").touch()
    (images / "text.png").write_text("not a picture")
    Image.new("RGB", (900, 20)).save(images / "ribbon.png")


def freeze(folder: Path, sizes: dict[str, tuple[int, int] | None] | None = None) -> None:
    """Write manifest.parquet and posts.json for all pictures of a folder; post ids are their places by name."""
    images = folder / "images"
    names = sorted(
        {path.name for path in images.iterdir()} | ({"missing.png"} if (images / "dot.png").exists() else set())
    )
    rows: list[dict[str, Any]] = []
    for post, name in enumerate(names):
        path = images / name
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None
        try:
            size: tuple[int, int] | None = Image.open(path).size
        except (OSError, Image.DecompressionBombError):
            size = None
        width, height = (sizes or {}).get(name, size) or (None, None)
        rows.append({"id": post, "image": name, "sha256": sha256, "width": width, "height": height})
    pl.DataFrame(rows, schema_overrides=MANIFEST_SCHEMA).write_parquet(folder / "manifest.parquet")
    (folder / "posts.json").write_text(json.dumps({"root": "images"}))


@dataclass(frozen=True)
class Bench:
    """A posts folder, and runs of the latents stage on it."""

    folder: Path

    @property
    def images(self) -> Path:
        return self.folder / "posts" / "images"

    @property
    def manifest(self) -> pl.DataFrame:
        return pl.read_parquet(self.folder / "posts" / "manifest.parquet")

    def draw(self, count: int, *, start: int = 0) -> None:
        draw_plain(self.images, count, start)

    def vae(self, seed: int = 0) -> VAE:
        return tiny_vae(seed)

    def freeze(self, sizes: dict[str, tuple[int, int] | None] | None = None) -> None:
        freeze(self.folder / "posts", sizes)

    def run(self, out: str = "latents", **settings: Any) -> dict[str, Any]:
        return stage.run(*self._order(out, settings))

    def assist(self, out: str = "latents", **settings: Any) -> dict[str, Any]:
        return stage.assist(*self._order(out, settings))

    def _order(self, out: str, settings: dict[str, Any]) -> tuple[LatentsConfig, Job]:
        settings = {"area": 64 * 64, "step": 16, "batch": 4} | settings
        inputs = {"posts": {"p": self.folder / "posts"}, "model": {"m": Path("unused")}}
        config = LatentsConfig(posts="p", model="m", **settings)
        return config, Job(out=self.folder / out, inputs=inputs, threads=2)

    def skipped(self, out: str = "latents") -> dict[str, str]:
        lines = (self.folder / out / "skipped.jsonl").read_text().splitlines()
        return {row["image"]: row["reason"] for row in map(json.loads, lines)}

    def contents(self, out: str = "latents") -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted((self.folder / out).iterdir())}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return a bench without pictures, its VAE the tiny one."""
    monkeypatch.setattr(moments, "load_model", lambda path, device="cpu": SimpleNamespace(vae=tiny_vae()))
    (tmp_path / "posts" / "images").mkdir(parents=True)
    return Bench(tmp_path)


@pytest.fixture
def zoo(bench: Bench) -> Bench:
    """Return a bench with plain, odd and broken pictures, one of them twice, some sizes wrong or unknown."""
    draw_plain(bench.images, 30)
    draw_odd(bench.images)
    draw_broken(bench.images)
    (bench.images / "twin.png").write_bytes((bench.images / "plain000.png").read_bytes())
    bench.freeze({"plain003.png": (10, 90), "plain004.jpg": None, "plain005.webp": (500, 50)})
    return bench
