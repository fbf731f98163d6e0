"""Recipes that mergers left behind, read as formulas: A1111's, SuperMerger's, sd-mecha's and our own."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from enogu.core.networks.header import open_read, read_header
from enogu.core.networks.provenance import decoded
from enogu.core.records.errors import Refused
from enogu.merge.ancestry import MECHA
from enogu.merge.config import MergeConfig
from enogu.merge.lineage import RECIPE, WEBUI_MODELS, WEBUI_RECIPE
from enogu.merge.replay_mecha import from_mecha
from enogu.merge.replay_records import Replay, Wanted, stored_dtype
from enogu.merge.replay_webui import from_webui

MECHA_SUFFIX = ".mecha"
MAX_RECIPE_BYTES = 1 << 20  # a recipe longer than this was not written by a merger


def read_replay(path: Path) -> Replay:
    """Read the recipe of a merged file, or a .mecha text; refuse a file that holds none."""
    if path.suffix == MECHA_SUFFIX:
        with open_read(path) as handle:
            return from_mecha(handle.read(MAX_RECIPE_BYTES).decode("utf-8", errors="replace"), dtype="same")
    header = read_header(path)
    metadata = header.metadata
    if RECIPE in metadata:
        return _own(decoded(metadata[RECIPE]))
    if MECHA in metadata:
        return from_mecha(metadata[MECHA], dtype=stored_dtype(header))
    if WEBUI_RECIPE in metadata:
        known = decoded(metadata.get(WEBUI_MODELS, "{}"))
        made = decoded(metadata[WEBUI_RECIPE])
        if isinstance(made, dict):
            return from_webui(made, known if isinstance(known, dict) else {}, header=header)
    raise Refused(f"{path}: its header holds no recipe ({RECIPE}, {WEBUI_RECIPE} or {MECHA}); nothing to replay")


def _own(made: Any) -> Replay:
    if not isinstance(made, dict) or not isinstance(made.get("models"), dict):
        raise Refused(f"the recipe in {RECIPE} is damaged: it lists no models")
    types = {each.name: type(each.default) for each in fields(MergeConfig)} | {"formula": str}
    settings = {name: value for name, value in made.items() if name in types}
    if "formula" not in settings or any(not isinstance(value, types[name]) for name, value in settings.items()):
        raise Refused(f"the recipe in {RECIPE} is damaged: {json.dumps(settings)[:200]}")
    models = {
        name: Wanted(str(model.get("sha256", "")), str(model.get("title", name)))
        for name, model in made["models"].items()
        if isinstance(model, dict)
    }
    return Replay("enogu", MergeConfig(**settings), models)
