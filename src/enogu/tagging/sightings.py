"""The record of what models see: one Parquet file per stretch of posts, probabilities as 16-bit fractions of one.

`sightings.json` names the taggers with their tags, kinds, thresholds and hashes, and the scorers; a part has the
columns post, one pair of lists per tagger (`NAME.tags` numbers into its names, `NAME.values`), and one score per
scorer. Posts without a readable picture are not in it; they are listed in `skipped.json`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from enogu.core.records.errors import Failed, unknown
from enogu.core.records.files import atomic_path, read_json

ONE = 65535  # the 16-bit number that stands for probability 1
SLACK = 1e-3  # by which a probability may miss 0 to 1: half precision rounds
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Seer:
    """A tagger as the record knows it."""

    name: str
    tags: tuple[str, ...]
    kinds: tuple[str, ...]
    thresholds: tuple[float, ...]
    sha256: str

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> "Seer":
        """Read what the record says of a tagger."""
        tables = {name: tuple(raw[name]) for name in ("tags", "kinds", "thresholds")}
        return cls(name=raw["name"], sha256=raw["sha256"], **tables)


@dataclass(frozen=True)
class Sightings:
    """A finished record."""

    folder: Path
    taggers: tuple[Seer, ...]
    scorers: tuple[str, ...]

    @classmethod
    def open(cls, folder: Path) -> "Sightings":
        """Open a folder that a sightings stage has finished."""
        raw = read_json(folder / "sightings.json")
        return cls(folder, tuple(map(Seer.of, raw["taggers"])), tuple(raw["scorers"]))

    def only(self, names: Sequence[str]) -> "Sightings":
        """Return what some of the taggers saw."""
        there = {seer.name: seer for seer in self.taggers}
        for name in names:
            if name not in there:
                raise unknown("tagger in [tagged]", name, there)
        return replace(self, taggers=tuple(there[name] for name in names))

    def parts(self) -> Iterator[pl.DataFrame]:
        """Yield the parts in order, without the posts that had no readable picture."""
        for path in sorted(self.folder.glob("part-*.parquet")):
            yield pl.read_parquet(path).filter(pl.col("reason") == "")

    def probabilities(self, part: pl.DataFrame, seer: Seer) -> Floats:
        """Return (posts, tags) of one tagger, 0 where a probability was below the floor."""
        tags, values = part[f"{seer.name}.tags"], part[f"{seer.name}.values"]
        dense = np.zeros((len(part), len(seer.tags)), np.float32)
        rows = np.repeat(np.arange(len(part)), tags.list.len().to_numpy())
        if len(rows):
            dense[rows, tags.explode().drop_nulls().to_numpy()] = values.explode().drop_nulls().to_numpy() / ONE
        return dense


def columns(name: str, probabilities: Floats, floor: float) -> dict[str, pl.Series]:
    """Return the pair of list columns for one tagger's (posts, tags) probabilities."""
    if not ((probabilities > -SLACK) & (probabilities < 1 + SLACK)).all():  # NaN is neither
        least, most = probabilities.min(), probabilities.max()
        raise Failed(
            f"{name} gives {least:g} to {most:g}, which are no probabilities: say in its adapter.toml what is still to "
            'be applied, as in activation = "sigmoid"'
        )
    rows, tags = np.nonzero(probabilities >= max(floor, 0.5 / ONE))
    values = np.rint(np.clip(probabilities[rows, tags], 0, 1) * ONE).astype(np.uint16)
    frame = pl.DataFrame({"row": rows, "tags": tags.astype(np.uint16), "values": values})
    listed = frame.group_by("row", maintain_order=True).agg("tags", "values")
    every = pl.DataFrame({"row": np.arange(len(probabilities))}).join(
        listed, on="row", how="left", maintain_order="left"
    )
    empty = pl.lit([], dtype=pl.List(pl.UInt16))
    return {f"{name}.{column}": every[column].fill_null(pl.select(empty).to_series()) for column in ("tags", "values")}


def write_part(folder: Path, number: int, table: Mapping[str, Any]) -> None:
    """Write one part whole."""
    with atomic_path(part_path(folder, number)) as path:
        pl.DataFrame(table).write_parquet(path)


def part_path(folder: Path, number: int) -> Path:
    """Return where a part lies."""
    return folder / f"part-{number:06}.parquet"


def check_few(tags: int) -> None:
    """Fail for a tagger with more tags than 16 bits count."""
    if tags > ONE + 1:
        raise Failed(f"a tagger with {tags:,} tags: the record counts {ONE + 1:,}")
