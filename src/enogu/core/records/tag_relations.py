"""Aliases and implications of tags, from tables as danbooru and e621 export them, or tagcomplete's list."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from enogu.core.records.errors import Refused

FROM, TO, STATUS = "antecedent_name", "consequent_name", "status"
Pairs = Iterable[tuple[str, str]]


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Return (tag, what it stands for or implies) of a table, active ones only, where it tells."""
    try:
        frame = _read(path)
    except (OSError, pl.exceptions.PolarsError) as problem:
        raise Refused(f"{path}: cannot be read as a table of tags: {str(problem).splitlines()[0]}") from None
    if FROM not in frame.columns:
        return _tagcomplete(path, frame)
    if STATUS in frame.columns:
        frame = frame.filter(pl.col(STATUS) == "active")
    return frame.select(FROM, TO).drop_nulls().rows()


def canonical(pairs: Pairs) -> dict[str, str]:
    """Return what each alias stands for in the end; a circle of aliases stands for nothing else."""
    step = dict(pairs)
    return {tag: end for tag in step if (end := _follow(tag, step)) != tag}


def closure(pairs: Pairs, names: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Return all that a tag implies, by whatever number of steps, under the names of today."""
    direct: dict[str, set[str]] = {}
    for tag, implied in pairs:
        direct.setdefault(names.get(tag, tag), set()).add(names.get(implied, implied))
    return {tag: frozenset(_reached(tag, direct)) for tag in direct}


def _follow(tag: str, step: Mapping[str, str]) -> str:
    seen = {tag}
    while (following := step.get(tag)) is not None:
        if following in seen:
            return min(seen)
        seen.add(following)
        tag = following
    return tag


def _reached(tag: str, direct: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    ahead = [*direct[tag]]
    while ahead:
        if (one := ahead.pop()) not in found and one != tag:
            found.add(one)
            ahead += direct.get(one, ())
    return found


def _read(path: Path) -> pl.DataFrame:
    match "".join(path.suffixes[-2:]).lower().removesuffix(".gz").rpartition(".")[2]:
        case "parquet":
            return pl.read_parquet(path)
        case "jsonl" | "ndjson":
            return pl.read_ndjson(path)
        case "json":
            return pl.read_json(path)
    first = pl.read_csv(path, has_header=False, n_rows=1, infer_schema=False)
    return pl.read_csv(path, has_header=FROM in first.row(0), infer_schema=False, truncate_ragged_lines=True)


def _tagcomplete(path: Path, frame: pl.DataFrame) -> list[tuple[str, str]]:
    """Read lines of tag, category, count, "alias,alias"."""
    if len(frame.columns) < 4 or not frame.columns[0].startswith("column_"):
        raise Refused(f"{path}: expected columns {FROM} and {TO}, or lines of tag, category, count, aliases")
    rows = frame.select(pl.nth(0), pl.nth(3)).drop_nulls().rows()
    return [(alias.strip(), tag) for tag, aliases in rows for alias in aliases.split(",") if alias.strip()]
