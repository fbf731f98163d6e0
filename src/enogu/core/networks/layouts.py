"""Layouts of whole checkpoints: which keys and shapes a family has, and which family a file is of."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from enogu.core.networks import spelling
from enogu.core.networks.header import Header
from enogu.core.networks.keys import COMPONENTS, place

Shapes = Mapping[str, tuple[int, ...]]
PREFIXES = {"unet": "model.diffusion_model.", "vae": "first_stage_model."}
SPELLINGS: Mapping[str, Callable[[Mapping[str, Any]], spelling.Keys]] = {
    "unet": spelling.unet,
    "vae": spelling.vae,
    "clip": spelling.clip,
    "openclip": spelling.openclip,
}


@dataclass(frozen=True)
class Layout:
    """A family of checkpoints: its components' keys and shapes, and the sizes that those follow from."""

    name: str
    architecture: str
    resolution: int
    components: Mapping[str, Shapes]
    prefixes: Mapping[str, str]
    kinds: Mapping[str, str]  # component -> "unet", "vae", "clip" or "openclip"
    sizes: Mapping[str, Mapping[str, Any]]
    pipeline: str
    latent_scale: float
    if_v: Mapping[str, Any]

    def spec(self, prediction: str) -> tuple[str, int]:
        """Return Model Spec's architecture and the resolution of a checkpoint that predicts "eps" or "v"."""
        told = self.if_v if prediction == "v" else {}
        return told.get("architecture", self.architecture), told.get("resolution", self.resolution)

    @property
    def shapes(self) -> Shapes:
        """Return every key of every component."""
        return {key: shape for part in self.components.values() for key, shape in part.items()}


@dataclass(frozen=True)
class Fit:
    """How the keys of a file meet those of a component."""

    component: str
    present: int
    missing: tuple[str, ...]
    misshapen: tuple[str, ...]
    unexpected: tuple[str, ...]


def layout(name: str) -> Layout:
    """Return a layout by name."""
    return layouts()[name]


@cache
def layouts() -> Mapping[str, Layout]:
    """Return every known layout, in the order of the table."""
    text = resources.files("enogu.core.networks").joinpath("data/layouts.toml").read_text("utf-8")
    tables = tomllib.loads(text)
    return {name: _layout(name, _resolved(tables["layout"], name), tables) for name in tables["layout"]}


def find_layout(header: Header) -> Layout | None:
    """Return the layout that most of a file's tensors fit; among those that as many fit, the one it fills best."""
    found = {key: info.shape for key, info in header.tensors.items()}
    scores = {item.name: _score(item, found) for item in layouts().values()}
    best = max(scores, key=lambda name: scores[name])
    return layouts()[best] if scores[best] > (0, 0.0) else None


def fits(chosen: Layout, header: Header) -> list[Fit]:
    """Compare a file with a layout, component by component; an absent component is left out."""
    result = []
    for component in COMPONENTS:
        wanted = chosen.components.get(component, {})
        found = {key: info.shape for key, info in header.tensors.items() if place(key).component == component}
        unexpected = tuple(key for key in found if key not in wanted and not place(key).fixed)
        if found and (wanted or unexpected):
            misshapen = tuple(key for key in wanted if key in found and found[key] != wanted[key])
            missing = tuple(key for key in wanted if key not in found and not place(key).fixed)
            result.append(Fit(component, len(found), missing, misshapen, unexpected))
    return result


def within(key: str) -> str:
    """Return a key without what says where its component sits, so that SD1's CLIP and SDXL's first one agree."""
    return next((key.removeprefix(prefix) for prefix in _prefixes() if key.startswith(prefix)), key)


@cache
def _prefixes() -> tuple[str, ...]:
    return tuple(sorted({prefix for known in layouts().values() for prefix in known.prefixes.values()}))


def _score(chosen: Layout, found: Shapes) -> tuple[int, float]:
    """Return how many of a file's tensors fit, and the mean share that they are of the components it has part of."""
    shares, fitting = [], 0
    for part in chosen.components.values():
        shared = sum(found.get(key) == shape for key, shape in part.items())
        fitting += shared
        if any(key in found for key in part):
            shares.append(shared / len(part))
    return fitting, sum(shares) / len(shares) * (0.5 + 0.5 * len(shares) / len(chosen.components)) if shares else 0.0


def _layout(name: str, table: Mapping[str, Any], tables: Mapping[str, Any]) -> Layout:
    components: dict[str, Shapes] = {}
    prefixes, kinds, sizes = {}, {}, {}
    for component in COMPONENTS:
        if component in table:
            kind, _, size = table[component].rpartition(".")
            kinds[component] = kind = kind or component
            prefixes[component] = prefix = table.get(f"{component}_prefix", PREFIXES.get(component, ""))
            sizes[component] = _resolved(tables[kind], size)
            components[component] = {prefix + key: shape for key, shape in SPELLINGS[kind](sizes[component])}
    facts = {key: table[key] for key in ("architecture", "resolution", "pipeline", "latent_scale")}
    told: dict[str, Any] = {"components": components, "prefixes": prefixes, "kinds": kinds, "sizes": sizes}
    return Layout(name=name, **facts, **told, if_v=table.get("if_v", {}))


def _resolved(tables: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = dict(tables[name])
    like = table.pop("like", None)
    return {**(_resolved(tables, like) if like else {}), **table}
