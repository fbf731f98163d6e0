"""What a drawn picture shows: the attribute tables of `traits.toml` and one picture's choices."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

RGB = tuple[int, int, int]

NO_HEADWEAR = "no_headwear"
YEARS = (2010, 2023)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One value that an attribute can take; `traits.toml` says what the fields mean."""

    tag: str
    weight: float
    boy: float | None = None
    rgb: RGB = (0, 0, 0)
    novel: bool = False
    end: float = 0.0
    tail_end: float = 0.0
    top: float = 0.0
    half_width: float = 0.0
    fans: float = 1.0
    line: float = 1.0
    ink: RGB = (0, 0, 0)
    tint: float = 0.0
    shading: str = "cel"
    lift: float = 0.0
    contour: bool = False


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One character of a picture."""

    boy: bool
    hair_colour: str
    hair_length: str
    hair_style: str
    eye_colour: str
    expression: str
    headwear: str
    shirt: str
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """Everything that decides a picture except its jitter; `quality` runs from 0 (ruined) to 1 (clean)."""

    figures: tuple[Figure, ...]
    background: str
    framing: str
    count: str
    artist: str
    rating: str
    year: int
    quality: float


@cache
def tables() -> Mapping[str, Mapping[str, Choice]]:
    """Every attribute with its choices by tag, as `traits.toml` lists them."""
    raw = tomllib.loads((files(__package__) / "traits.toml").read_text(encoding="utf-8"))
    return MappingProxyType(
        {name: MappingProxyType({tag: _choice(tag, row) for tag, row in rows.items()}) for name, rows in raw.items()}
    )


def choice(attribute: str, tag: str) -> Choice:
    """The table row of one attribute value."""
    return tables()[attribute][tag]


@cache
def characters() -> Mapping[str, Figure]:
    """The recurring characters of `characters.toml`, by character tag."""
    rows = tomllib.loads((files(__package__) / "characters.toml").read_text(encoding="utf-8"))
    return MappingProxyType({name: Figure(name=name, **row) for name, row in rows.items()})


def novel_tags() -> frozenset[str]:
    """The concepts that the base never sees."""
    return frozenset(c.tag for rows in tables().values() for c in rows.values() if c.novel)


def general_tags(traits: Traits) -> tuple[str, ...]:
    """The picture's general tags in a fixed order, each once, only for what can be seen."""
    found = [traits.count]
    for figure in traits.figures:
        found += [figure.hair_colour, figure.hair_length, figure.hair_style, figure.eye_colour]
        found += [figure.expression, figure.headwear, figure.shirt]
    found += [traits.framing, traits.background]
    return tuple(dict.fromkeys(tag for tag in found if tag != NO_HEADWEAR))


def _choice(tag: str, row: dict[str, object]) -> Choice:
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    return Choice(tag=tag, **fields)  # type: ignore[arg-type]
