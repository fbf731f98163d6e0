"""What a merged file says of its making: the recipe, its parents by hash, and no local path."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from enogu import __version__
from enogu.core.networks.header import Header
from enogu.core.networks.stream import HASH_PLACEHOLDER
from enogu.merge.plan import Plan

RECIPE = "enogu.merge"


def placeholder(model: str) -> str:
    """Return what stands in the header for a parent's SHA-256 until the parent was read."""
    return hashlib.sha256(f"sha256 of {model}".encode()).hexdigest()


def recipe(plan: Plan, headers: Mapping[str, Header]) -> dict[str, Any]:
    """Return everything needed to make the file again, with the parents' own recipes beneath."""
    config = plan.config
    return {
        "enogu": __version__,
        "formula": config.formula,
        "dtype": config.dtype,
        "precision": config.precision,
        "vae": config.vae,
        "text": config.text,
        "nonfinite": config.nonfinite,
        "seed": config.seed,
        "models": {name: _parent(name, headers[name].metadata) for name in plan.sources},
    }


def make_metadata(plan: Plan, headers: Mapping[str, Header]) -> dict[str, str]:
    """Return the header's metadata: the first model's description, made true again, and the recipe."""
    first = headers[plan.models[0]].metadata
    kept = {key: value for key, value in first.items() if key.startswith("modelspec.")}
    titles = [headers[name].metadata.get("modelspec.title", name) for name in plan.sources]
    return {
        **kept,
        "format": "pt",
        "modelspec.title": f"merge of {', '.join(titles)}",
        "modelspec.merged_from": ",".join(title.replace(",", " ") for title in titles),
        "modelspec.hash_sha256": HASH_PLACEHOLDER,
        RECIPE: json.dumps(recipe(plan, headers), ensure_ascii=False, sort_keys=True),
    }


def _parent(name: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    parent: dict[str, Any] = {"sha256": placeholder(name)}
    if title := metadata.get("modelspec.title"):
        parent["title"] = title
    if text := metadata.get(RECIPE):
        parent["merge"] = _decoded(text)
    return parent


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
