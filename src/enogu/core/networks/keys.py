"""Typed keys: which component and block a tensor belongs to, and whether it may ever be blended."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from enogu.core.networks.header import TensorInfo

TEXT_ENCODERS = ("te1", "te2")
COMPONENTS = ("unet", *TEXT_ENCODERS, "vae", "other")
NAMES: Mapping[str, str] = {
    "unet": "UNet",
    "te1": "text encoder",
    "te2": "second text encoder",
    "vae": "VAE",
    "other": "other tensors",
}


@dataclass(frozen=True)
class Place:
    """Where a tensor sits: component, block (IN04, M00, OUT11, TIME, LABEL, HEAD or none), reason it is fixed."""

    component: str
    block: str
    fixed: str


@cache
def place(key: str) -> Place:
    """Return where a key of the LDM layout sits."""
    component, _ = _find("components", key)
    fixed, _ = _find("fixed", key)
    block, number = _find("blocks", key)
    if block in ("IN", "M", "OUT"):
        block = f"{block}{int(number):02d}"
    return Place(component or "other", block, fixed)


def why_fixed(key: str, info: TensorInfo) -> str:
    """Return why a tensor must never be blended, or nothing if it may be."""
    fixed = place(key).fixed
    if fixed:
        return fixed
    if not info.is_float:
        return "integers"
    return "" if info.numel else "marker"


@cache
def _patterns() -> Mapping[str, tuple[tuple[str, re.Pattern[str]], ...]]:
    text = resources.files("enogu.core.networks").joinpath("data/keys.toml").read_text("utf-8")
    return {
        table: tuple((name, re.compile("|".join(patterns))) for name, patterns in rows.items())
        for table, rows in tomllib.loads(text).items()
    }


def _find(table: str, key: str) -> tuple[str, str]:
    for name, pattern in _patterns()[table]:
        if match := pattern.match(key):
            return name, next(iter(match.groups()), "0") or "0"
    return "", "0"
