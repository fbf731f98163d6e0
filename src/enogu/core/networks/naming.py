"""Foreign names of a checkpoint's tensors, made canonical where a file is opened."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib import resources

from enogu.core.networks.diffusers import FOLDERS, Spelling, recognise
from enogu.core.networks.keys import TEXT_ENCODERS, place
from enogu.core.networks.layouts import layouts

Shapes = Mapping[str, tuple[int, ...]]
SLASH = "/"  # between a diffusers folder and a name in it
_FOLDED = tuple(folder + SLASH for folder in FOLDERS.values())


def canonical(key: str) -> str:
    """Return the spelling that every UI expects, for a key of the LDM layout."""
    for pattern, instead in _repairs():
        if match := pattern.match(key):
            key = instead + key[match.end() :]
    return key


def resolve(shapes: Shapes) -> dict[str, Spelling]:
    """Return canonical key -> the stored tensors that it is made of.

    Where two spellings of one key are there, the canonical one is meant.
    """
    if all(key.startswith(_FOLDED) for key in shapes):
        return _folder(shapes)
    names = {canonical(key): key for key in shapes}
    plain = {name: Spelling("", (name if name in shapes else stored,)) for name, stored in names.items()}
    known = sum(place(name).component != "other" for name in plain)
    return plain if 2 * known > len(plain) else _lone(shapes) or plain


def _lone(shapes: Shapes) -> dict[str, Spelling]:
    """Return the keys of one component's file in diffusers' or transformers' spelling."""
    found = max((recognise({part: shapes}) for part in FOLDERS), key=len)
    if 2 * len(_names(found)) < len(shapes):
        return {}
    component = next(iter(found.values())).component
    return {**found, **_rest(shapes, found, component)}


def _folder(shapes: Shapes) -> dict[str, Spelling]:
    parts = {
        component: {
            key.removeprefix(folder + SLASH): shape for key, shape in shapes.items() if key.startswith(folder + SLASH)
        }
        for component, folder in FOLDERS.items()
    }
    found = recognise(parts)
    result = {}
    for component, folder in FOLDERS.items():
        own = {key: spelling for key, spelling in found.items() if spelling.component == component}
        for key, spelling in {**own, **_rest(parts[component], own, component)}.items():
            result[key] = replace(spelling, names=tuple(f"{folder}{SLASH}{name}" for name in spelling.names))
    return result


def _names(found: Mapping[str, Spelling]) -> set[str]:
    return {name for spelling in found.values() for name in spelling.names}


def _rest(shapes: Shapes, found: Mapping[str, Spelling], component: str) -> dict[str, Spelling]:
    """Return the stored names that no key is made of, under the prefix of their component."""
    used, first = _names(found), next(iter(found), "")
    known = (item.prefixes.get(component, "") for item in layouts().values())
    prefix = next((prefix for prefix in known if prefix and first.startswith(prefix)), f"{component}.")
    ids = component in TEXT_ENCODERS and not prefix.endswith("text_model.")  # OpenCLIP counts positions itself
    return {
        prefix + name.removeprefix("text_model."): Spelling(component, (name,))
        for name in shapes
        if name not in used and not (ids and name.endswith("position_ids"))
    }


@cache
def _repairs() -> tuple[tuple[re.Pattern[str], str], ...]:
    table = tomllib.loads(resources.files("enogu.core.networks").joinpath("data/naming.toml").read_text("utf-8"))
    return tuple((re.compile(pattern), instead) for pattern, instead in table["repairs"])
