"""Families of Stable Diffusion networks: one topology, a table of widths each (data/families.toml)."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from enogu.core.records.errors import unknown


@dataclass(frozen=True, kw_only=True)
class UNetWidths:
    """The UNet's sizes; `attention` tells per level whether its blocks hold a transformer."""

    channels: int
    multipliers: tuple[int, ...]
    attention: tuple[bool, ...]
    blocks: int
    heads: int
    context: int
    groups: int


@dataclass(frozen=True, kw_only=True)
class VAEWidths:
    """The autoencoder's sizes; the factor is 2 ** (levels - 1)."""

    channels: int
    multipliers: tuple[int, ...]
    blocks: int
    latent: int
    groups: int

    @property
    def factor(self) -> int:
        """Return pixels per latent cell on a side."""
        return 1 << (len(self.multipliers) - 1)


@dataclass(frozen=True, kw_only=True)
class TextWidths:
    """The CLIP text encoder's sizes."""

    width: int
    layers: int
    heads: int
    vocabulary: int
    positions: int


@dataclass(frozen=True, kw_only=True)
class Family:
    """Everything that tells one family from another."""

    name: str
    prediction: Literal["eps", "v"]
    schedule: Literal["scaled_linear", "linear"]
    latent_scale: float
    unet: UNetWidths
    vae: VAEWidths
    text: TextWidths


@cache
def families() -> Mapping[str, Family]:
    """Return every known family by name."""
    text = resources.files("enogu.core.networks").joinpath("data/families.toml").read_text("utf-8")
    return {name: _family(name, table) for name, table in tomllib.loads(text).items()}


def family(name: str) -> Family:
    """Return a family by name, or refuse with the nearest name."""
    known = families()
    if name not in known:
        raise unknown("family", name, known)
    return known[name]


def _family(name: str, table: dict[str, Any]) -> Family:
    def frozen(widths: dict[str, Any]) -> dict[str, Any]:
        return {key: tuple(value) if isinstance(value, list) else value for key, value in widths.items()}

    return Family(
        name=name,
        prediction=table["prediction"],
        schedule=table["schedule"],
        latent_scale=table["latent_scale"],
        unet=UNetWidths(**frozen(table["unet"])),
        vae=VAEWidths(**frozen(table["vae"])),
        text=TextWidths(**frozen(table["text"])),
    )
