"""PEFT's settings, which lie in the header or beside the weights, and the alpha that they mean."""

import json
import math
from collections.abc import Mapping
from typing import Any

from enogu.core.networks.stream import Reader

SETTINGS = "lora_adapter_metadata"  # diffusers' name for PEFT's configuration in the header
FILE = "adapter_config.json"  # PEFT's own, beside the weights


def settings(file: Reader) -> Mapping[str, Any]:
    """Return PEFT's settings as diffusers writes them into the header, or from the file that PEFT leaves beside it."""
    if SETTINGS in file.header.metadata:
        return _decoded(file.header.metadata[SETTINGS])
    beside = file.path.parent / FILE
    if not beside.exists():
        return {}
    found = _decoded(beside.read_text(encoding="utf-8", errors="replace"))
    return {f"base_model.{name}": value for name, value in found.items()}


def _decoded(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def alpha_of(module: str, settings: Mapping[str, Any]) -> float | None:
    """Return PEFT's alpha; with rank-stabilised scaling the one that gives the same scale over the rank.

    Kalajdzievski 2023, arXiv 2312.03732.
    """
    component, _, inner = module.partition(".")
    alpha = settings.get(f"{component}.lora_alpha")
    if not isinstance(alpha, int | float):
        return None
    inner = inner.removeprefix("model.")
    patterns, ranks = settings.get(f"{component}.alpha_pattern") or {}, settings.get(f"{component}.rank_pattern") or {}
    alpha = float(patterns.get(inner, alpha))
    rank = float(ranks.get(inner, settings.get(f"{component}.r", 0)))
    return alpha * math.sqrt(rank) if settings.get(f"{component}.use_rslora") and rank else alpha
