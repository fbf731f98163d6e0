"""What a header says of a file's making by enogu: recipes, and the files that it came from, by hash, without paths."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from enogu import __version__
from enogu.core.networks.header import Header
from enogu.core.networks.rewrite import Conversion

OWN, FAMILY, CONVERSION = "enogu.", "enogu.family", "enogu.convert"


def decoded(text: str) -> Any:
    """Return the value of a JSON text, or the text itself where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def making(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return how enogu made a file, by what made it: "train", "merge", "convert"."""
    own = {key: text for key, text in metadata.items() if key.startswith(OWN) and key != FAMILY}
    return {key.removeprefix(OWN): decoded(text) for key, text in own.items()}


def inherited(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return what stays true of a file that is made of another: all but how enogu made that."""
    return {key: text for key, text in metadata.items() if not key.startswith(OWN) or key == FAMILY}


def conversion(
    change: Conversion, sources: Mapping[str, tuple[Path, Header]], *, hashes: Sequence[str]
) -> dict[str, str]:
    """Return metadata that tell of a conversion, and of how its sources were made beneath them."""
    models = {
        name: {"sha256": digest, "title": header.metadata.get("modelspec.title", path.stem), **making(header.metadata)}
        for (name, (path, header)), digest in zip(sources.items(), hashes, strict=True)
    }
    changed = {
        field.name: value
        for field in fields(change)
        if field.name != "parts" and (value := getattr(change, field.name)) != field.default
    }
    told = {"enogu": __version__, "change": changed, "models": models}
    return {CONVERSION: json.dumps(told, ensure_ascii=False, sort_keys=True)}
