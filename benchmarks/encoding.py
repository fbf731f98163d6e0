"""Where the time of the latents stage goes on drawn pictures: decode, resize, VAE."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import shipped_start
from enogu.core.networks.checkpoint import save
from enogu.core.records.job import Job
from enogu.latents import stage as latents
from enogu.latents.config import LatentsConfig
from enogu.mini.config import BooruConfig
from enogu.mini.stage import run_booru
from enogu.posts import stage as posts
from enogu.posts.config import PostsConfig, Where

ALL = Where(rating=("general", "sensitive", "questionable", "explicit"))  # drawn, and harmless every one


@dataclass(frozen=True)
class Encoded:
    """What the stage says of itself."""

    pictures_per_second: float
    decode: float
    resize: float
    vae: float


def drawn(folder: Path, *, pictures: int) -> None:
    """Draw a booru, freeze its manifest, and put a checkpoint beside them."""
    run_booru(BooruConfig(posts=pictures), Job(out=folder / "booru"))
    (folder / "posts").mkdir()
    posts.run(
        PostsConfig(booru="booru", where=ALL),
        Job(out=folder / "posts", inputs={"booru": {"booru": folder / "booru"}}),
    )
    start, _ = shipped_start()
    save(folder / "model.safetensors", start.tensors, {})


def encoded(folder: Path, side: int, precision: str) -> Encoded:
    """Encode everything once, in buckets of about `side` squared pixels."""
    config = LatentsConfig(posts="posts", model="model", area=side * side, step=16, precision=precision)
    inputs = {"posts": {"posts": folder / "posts"}, "model": {"model": folder / "model.safetensors"}}
    summary = latents.run(config, Job(out=folder / f"latents-{side}-{precision}", inputs=inputs))
    return Encoded(summary["pictures_per_second"], **summary["shares"])
