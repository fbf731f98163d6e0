"""What a maker lays over a recipe: the table [mini], and KEY=VALUE from the command line."""

import tomllib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from enogu.core.records.errors import Refused, unknown
from enogu.recipe.problems import prefixed

Table = dict[str, Any]


def overlay(below: Mapping[str, Any], above: Mapping[str, Any], where: str = "mini") -> Table:
    """Return `below` with `above` laid over it: tables merge, other values replace; `unset` lists keys to drop."""
    gone = above.get("unset", [])
    if not isinstance(gone, list):
        raise Refused(f"{where}.unset: expected a list of keys to drop, got {gone!r}")
    if missing := [key for key in gone if key not in below]:
        raise Refused(f"{where}.unset: there is no {missing[0]!r} to drop")
    merged = {key: value for key, value in below.items() if key not in gone}
    for key, value in above.items():
        if key == "unset":
            continue
        under = merged.get(key)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            value = overlay(under, value, f"{where}.{key}")
        merged[key] = value
    return merged


def override(table: Mapping[str, Any], setting: str, kinds: Collection[str] = ()) -> Table:
    """Return the table with one KEY.KEY=VALUE set; the value is TOML, or else a plain string.

    A setting of a stage, a table below one of the kinds, is of one that is there: a slip would make another.
    """
    path, equals, text = setting.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise Refused(f"--set {setting}: write it as TABLE.KEY=VALUE, for example recipe.seed=7")
    with prefixed(f"--set {setting}: "):
        named = {kind: found for kind in kinds if isinstance(found := table.get(kind), Mapping)}
        stages = {f"{kind}.{name}" for kind, found in named.items() for name in found}
        if len(keys) > 2 and keys[0] in kinds and (stage := ".".join(keys[:2])) not in stages:
            raise unknown("stage", stage, stages)
        changed: Table = _put(table, keys, _value(text.strip()))
    return changed


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(below: Any, keys: Sequence[str], value: Any) -> Any:
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(below, list):
        if not key.isdecimal() or int(key) >= len(below):
            raise Refused(f"{key!r} is not one of the {len(below)} places (0, 1, ...) of that list")
        place = int(key)
        return [*below[:place], _put(below[place], rest, value), *below[place + 1 :]]
    if not isinstance(below, Mapping):
        raise Refused(f"{key!r} lies below a value that is no table")
    return {**below, key: _put(below.get(key, {}), rest, value)}
