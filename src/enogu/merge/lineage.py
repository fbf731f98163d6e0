"""What a merged file says of its making: the recipe, its parents by hash, and no local path."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from enogu import __version__
from enogu.core.networks.header import Header
from enogu.core.networks.identity import auto_v1
from enogu.core.networks.layouts import find_layout
from enogu.core.networks.prediction import KEYS, SPEC, SPEC_KEY, SPEC_VERSION, SPEC_WORDS, ZERO_SNR_KEY
from enogu.core.networks.provenance import FAMILY, decoded, making
from enogu.core.networks.stream import HASH_PLACEHOLDER
from enogu.merge.plan import LICENCE, Plan, licences_of

RECIPE = "enogu.merge"
WEBUI_RECIPE, WEBUI_MODELS = "sd_merge_recipe", "sd_merge_models"  # A1111's keys; their values are JSON texts
MERGE_OF, MANY = "merge of ", 8  # a title that lists parents, and how many it names
WEBUI_PARENTS = ("primary_model_hash", "secondary_model_hash", "tertiary_model_hash")


@dataclass(frozen=True)
class Lineage:
    """What the header of a merge is made of."""

    plan: Plan
    headers: Mapping[str, Header]
    files: Mapping[str, Path]

    def describe(self, hashes: Mapping[str, str]) -> dict[str, str]:
        """Return the metadata: a model spec that is true again, the recipe, and what webuis read of merges."""
        sources = self.plan.sources
        primary = {key: hashes[name] for key, name in zip(WEBUI_PARENTS, sources, strict=False)}
        webui = {"type": "enogu", "formula": self.plan.config.formula, "models": [hashes[name] for name in sources]}
        families = {self.headers[name].metadata.get(FAMILY, "") for name in sources}
        return {
            "format": "pt",
            **self._spec(),
            **({FAMILY: families.pop()} if len(families) == 1 and families != {""} else {}),
            RECIPE: _json(self._recipe(hashes)),
            WEBUI_RECIPE: _json({**webui, **primary}),
            WEBUI_MODELS: _json(self._ancestors(hashes)),
        }

    def _recipe(self, hashes: Mapping[str, str]) -> dict[str, Any]:
        """Return everything needed to make the file again, with the parents' own recipes beneath."""
        parents = {name: {"sha256": hashes[name], **parent(name, self.headers[name])} for name in self.plan.sources}
        return {"enogu": __version__, **asdict(self.plan.config), "models": parents}

    def _title(self, name: str) -> str:
        return title(name, self.headers[name])

    def _spec(self) -> dict[str, str]:
        first, titles = self.headers[self.plan.models[0]], [self._title(name) for name in self.plan.sources]
        stale = (*KEYS, SPEC_VERSION)
        kept = {key: text for key, text in first.metadata.items() if key.startswith("modelspec.") and key not in stale}
        family, predicts = find_layout(first), self.plan.objective.prediction
        if family:
            architecture, side = family.spec(predicts.kind)
            kept.setdefault("modelspec.architecture", architecture)
            kept.setdefault("modelspec.resolution", f"{side}x{side}")
        kept |= {SPEC_KEY: SPEC_WORDS[predicts.kind]} if predicts.kind else {}
        kept |= {ZERO_SNR_KEY: "True"} if predicts.zero_terminal_snr else {}
        licences = (text for name in self.plan.sources for text in licences_of(self.headers[name]))
        if licence := "; ".join(dict.fromkeys(licences)):
            kept[LICENCE] = licence
        return {
            **SPEC,
            **kept,
            "modelspec.title": MERGE_OF + (", ".join(titles) if len(titles) <= MANY else f"{len(titles)} models"),
            "modelspec.merged_from": listed(titles),
            "modelspec.hash_sha256": HASH_PLACEHOLDER,
        }

    def _ancestors(self, hashes: Mapping[str, str]) -> dict[str, Any]:
        """Return A1111's map of every ancestor by hash: what the parents inherited, then the parents."""
        known: dict[str, Any] = {}
        for name in self.plan.sources:
            inherited = decoded(self.headers[name].metadata.get(WEBUI_MODELS, "{}"))
            known |= inherited if isinstance(inherited, dict) else {}
        for name in self.plan.sources:
            made = decoded(self.headers[name].metadata.get(WEBUI_RECIPE, "null"))
            known[hashes[name]] = {
                "name": self._title(name),
                "legacy_hash": auto_v1(self.files[name]),
                "sd_merge_recipe": made,
            }
        return known


def title(name: str, header: Header) -> str:
    """Return what a model is called: its title, or its name in the formula if the title only lists parents."""
    told = header.metadata.get("modelspec.title", name)
    return name if told.startswith(MERGE_OF) else told


def listed(titles: Iterable[str]) -> str:
    """Return titles with commas between them and none within (Model Spec, merged_from)."""
    return ",".join(" ".join(text.replace(",", " ").split()) for text in titles)


def parent(name: str, header: Header) -> dict[str, Any]:
    """Return what a parent's header says of it: its title, and how enogu made it."""
    return {"title": title(name, header), **making(header.metadata)}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
