"""An adapter file's keys gathered into modules, and what belongs to none."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

SURE = frozenset({"up", "down", "w1_a", "k1", "k1_a", "diff"})  # parts that no checkpoint has


@dataclass(frozen=True)
class Modules:
    """The keys of a file by module and part; `unread` counts known kinds that are not read, `other` are the rest."""

    parts: Mapping[str, Mapping[str, str]]
    unread: Mapping[str, int]
    other: tuple[str, ...]


def gather(keys: Iterable[str]) -> Modules:
    """Sort the keys of an adapter file."""
    parts: dict[str, dict[str, str]] = {}
    unread: dict[str, int] = {}
    other = []
    for key in keys:
        ending = next((each for each in _endings() if key.endswith(each)), "")
        part = _table("parts").get(ending, "")
        if part:
            parts.setdefault(key.removesuffix(ending), {})[part] = key
        elif kind := _table("unread").get(ending, ""):
            unread[kind] = unread.get(kind, 0) + 1
        else:
            other.append(key)
    return Modules(parts, unread, tuple(other))


def is_adapter(keys: Iterable[str]) -> bool:
    """Return whether a file's keys are those of an adapter: one sure part, or a kind that is not read, is enough."""
    found = gather(keys)
    return bool(found.unread) or any(SURE & parts.keys() for parts in found.parts.values())


@cache
def _table(name: str) -> Mapping[str, str]:
    text = resources.files("enogu.merge.adapters").joinpath("data/parts.toml").read_text("utf-8")
    rows: Mapping[str, str] = tomllib.loads(text)[name]
    return rows


@cache
def _endings() -> tuple[str, ...]:
    return tuple(sorted([*_table("parts"), *_table("unread")], key=len, reverse=True))
