"""The tags of the mini tagger in the order of its output, and their rows of `selected_tags.csv`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enogu.core.records.files import atomic_path
from enogu.mini.traits import NO_HEADWEAR, Traits, characters, general_tags, tables

RATING, GENERAL, ARTIST, CHARACTER = 9, 0, 1, 4  # the WD taggers' categories; artists as danbooru numbers them


@dataclass(frozen=True)
class Label:
    """One output of the tagger."""

    name: str
    category: int


def labels() -> tuple[Label, ...]:
    """Ratings first, as in WD taggers, then every attribute value and every character."""
    rows = [Label(tag, _category(kind)) for kind, tags in tables().items() for tag in tags]
    rows += [Label(name, CHARACTER) for name in characters()]
    return tuple(sorted((row for row in rows if row.name != NO_HEADWEAR), key=lambda row: row.category != RATING))


def target(traits: Traits) -> NDArray[np.float32]:
    """1 for every label that the picture carries."""
    shown = {*general_tags(traits), traits.artist, traits.rating, *(figure.name for figure in traits.figures)}
    return np.array([label.name in shown for label in labels()], np.float32)


def write_labels(path: Path, counts: Sequence[int]) -> None:
    """Write `selected_tags.csv`; `counts` says how often each label was seen in training."""
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("tag_id", "name", "category", "count"))
        rows = zip(labels(), counts, strict=True)
        writer.writerows((number, label.name, label.category, count) for number, (label, count) in enumerate(rows))


def _category(attribute: str) -> int:
    return RATING if attribute == "rating" else ARTIST if attribute == "artist" else GENERAL
