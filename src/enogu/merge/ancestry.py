"""The parents of a checkpoint, from whatever merger wrote its header."""

from collections.abc import Mapping
from typing import Any

from enogu.core.networks.provenance import CONVERSION, decoded
from enogu.merge.adapters.description import RECIPE as EXTRACTION
from enogu.merge.lineage import RECIPE, WEBUI_MODELS, WEBUI_PARENTS, WEBUI_RECIPE

ENOGU = (RECIPE, EXTRACTION, CONVERSION)
MECHA = "mecha_recipe"
PARENTS = (*WEBUI_PARENTS, "model_a", "model_b", "model_c")  # A1111's, then SuperMerger's fields of a SHA-256


def ancestry(metadata: Mapping[str, str]) -> dict[str, Any] | None:
    """Return a tree of {"recipe", "name", "sha256", "parents"}, or None if the header tells nothing."""
    for recipe in ENOGU:
        if recipe in metadata:
            own = decoded(metadata[recipe])
            return _enogu(own) if isinstance(own, dict) else {"recipe": str(own), "parents": []}
    if WEBUI_RECIPE in metadata:
        known = decoded(metadata.get(WEBUI_MODELS, "{}"))
        return _webui(decoded(metadata[WEBUI_RECIPE]), known if isinstance(known, dict) else {}, seen=())
    if MECHA in metadata:
        return {"recipe": metadata[MECHA], "parents": []}
    return None


def _enogu(made: Mapping[str, Any]) -> dict[str, Any]:
    parents = []
    for name, parent in dict(made.get("models", {})).items():
        made_by = (parent.get(recipe.removeprefix("enogu.")) for recipe in ENOGU)
        beneath: dict[str, Any] = next((_enogu(made) for made in made_by if isinstance(made, dict)), {"parents": []})
        parents.append({**beneath, "name": f"{name} ({parent.get('title', name)})", "sha256": parent.get("sha256")})
    return {"recipe": str(made.get("formula") or _converted(made.get("change"))), "parents": parents}


def _converted(change: Any) -> str:
    told = [f"{name}={value}" for name, value in change.items()] if isinstance(change, dict) else []
    return " ".join(["converted", *told]) if change is not None else ""


def _webui(made: Any, known: Mapping[str, Any], *, seen: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(made, dict):
        return {"parents": []}
    hashes = [made[field] for field in PARENTS if isinstance(made.get(field), str)]
    parents = []
    for digest in dict.fromkeys(hashes):
        entry = known.get(digest)
        entry = entry if isinstance(entry, dict) else {}
        beneath = (
            {"parents": []} if digest in seen else _webui(entry.get("sd_merge_recipe"), known, seen=(*seen, digest))
        )
        parents.append({**beneath, "name": entry.get("name", "?"), "sha256": digest})
    return {"recipe": recipe_text(made), "parents": parents}


def recipe_text(made: Mapping[str, Any]) -> str:
    """Return a webui's recipe in one line."""
    told = [
        made.get("type"),
        made.get("interp_method") or made.get("mode") or made.get("formula"),
        made.get("multiplier"),
    ]
    return ", ".join(str(word) for word in told if word not in (None, ""))
