"""Which posts a query keeps: a tree over the index into one bool per post."""

import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from enogu.core.records.posts import CATEGORIES
from enogu.core.records.tag_relations import canonical, closure
from enogu.posts.query import And, Between, Known, Like, Not, OneOf, Or, Query, Tag
from enogu.posts.query_columns import Column
from enogu.posts.tag_index import Bools, TagIndex, regex

Values = npt.NDArray[Any]
OFFERED = 5_000  # of the commonest tags are looked through for a near name


@dataclass(frozen=True)
class Relations:
    """What tags stand for, and what they imply."""

    aliases: tuple[tuple[str, str], ...] = ()
    implications: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self.aliases or self.implications)

    @cached_property
    def names(self) -> dict[str, str]:
        """Return today's name of each old one."""
        return canonical(self.aliases)

    @cached_property
    def spellings(self) -> dict[str, set[str]]:
        """Return the old names of each."""
        return _turned(self.names.items())

    @cached_property
    def implying(self) -> dict[str, set[str]]:
        """Return all that imply a tag."""
        implied = closure(self.implications, self.names)
        return _turned((tag, one) for tag, all_ in implied.items() for one in all_)

    def meaning(self, tag: str) -> set[str]:
        """Return every tag that says so: the tag under all its names, and what implies it."""
        name = self.names.get(tag, tag)
        said = {name, *self.implying.get(name, ())}
        return {tag} | said | {old for one in said for old in self.spellings.get(one, ())}


def holds(query: Query, index: TagIndex, relations: Relations) -> Bools:
    """Return which posts a query keeps."""
    match query:
        case And(parts):
            masks = (holds(part, index, relations) for part in parts)
            return _folded(np.logical_and, np.ones(index.posts, dtype=bool), masks)
        case Or(parts):
            masks = (holds(part, index, relations) for part in parts)
            return _folded(np.logical_or, np.zeros(index.posts, dtype=bool), masks)
        case Not(part):
            return np.logical_not(holds(part, index, relations))
        case Tag(name):
            return index.tagged(relations.meaning(name))
        case Like(pattern):
            return index.tagged(_alike(pattern, index, relations))
        case Between():
            return _between(query, index)
        case OneOf(column, words):
            return _one_of(column, words, index)
        case Known(column):
            return _values(column, index)[1]


def strangers(query: Query, index: TagIndex, relations: Relations) -> Iterator[tuple[Tag | Like, str]]:
    """Yield what is asked for and no post has, with the nearest tag there is."""
    match query:
        case And(parts) | Or(parts):
            for part in parts:
                yield from strangers(part, index, relations)
        case Not(part):
            yield from strangers(part, index, relations)
        case Tag(name) if not index.counts(relations.meaning(name)):
            yield query, _nearest(name, index)
        case Like(pattern) if not _alike(pattern, index, relations):
            yield query, ""


def _alike(pattern: str, index: TagIndex, relations: Relations) -> set[str]:
    """Return the tags of a shape under any of their names, and what implies them."""
    here = index.like(pattern)
    if not relations:
        return set(here)
    elsewhere = pl.Series([*relations.names, *relations.implying], dtype=pl.String)  # it may be that no post says so
    more = elsewhere.filter(elsewhere.str.contains(regex(pattern)))
    return set().union(*(relations.meaning(tag) for tag in (*here, *more)))


def _nearest(name: str, index: TagIndex) -> str:
    length = pl.col("tag").str.len_chars().is_between(len(name) - 2, len(name) + 2)
    common = index.tags.filter(length).top_k(OFFERED, by="count")["tag"].to_list()
    return next(iter(difflib.get_close_matches(name, common, n=1, cutoff=0.6)), "")


def _folded(join: np.ufunc, total: Bools, masks: Iterable[Bools]) -> Bools:
    for mask in masks:
        join(total, mask, out=total)
    return total


def _between(query: Between, index: TagIndex) -> Bools:
    values, known = _values(query.column, index)
    if math.isfinite(query.low):
        known &= values > query.low if query.above else values >= query.low
    if math.isfinite(query.high):
        known &= values < query.high if query.below else values <= query.high
    return known


def _one_of(column: Column, words: tuple[str, ...], index: TagIndex) -> Bools:
    if column.kind == "word":
        known = pl.Series(index.words[column.of], dtype=pl.String)
        return index.coded(column.of, known.filter(_any_of(known, words)))
    scan = pl.scan_parquet(index.path).select(pl.col(column.of))
    return _any_of(scan.collect(engine="streaming")[column.of], words).fill_null(False).to_numpy()


def _any_of(values: pl.Series, words: tuple[str, ...]) -> pl.Series:
    exact = values.is_in([word for word in words if "*" not in word])
    for word in words:
        exact = exact | values.str.contains(regex(word)) if "*" in word else exact
    return exact


def _values(column: Column, index: TagIndex) -> tuple[Values, Bools]:
    """Return a column's values and where it has one."""
    if column.name in DERIVED:
        return DERIVED[column.name](index)
    if column.kind == "text":
        text = pl.scan_parquet(index.path).select(pl.col(column.of).is_not_null()).collect(engine="streaming")
        return np.empty(0), text[column.of].to_numpy()
    known = index.known(column.of)
    return (np.zeros(index.posts, np.int8) if column.of in index.empty else index.column(column.of)), known


def _sides(index: TagIndex) -> tuple[Values, Values, Bools]:
    known = index.known("width") & index.known("height")
    if not known.any():
        return np.zeros(len(known)), np.zeros(len(known)), known
    width, height = (index.column(name) for name in ("width", "height"))
    return width, height, known & (height > 0)


def _side(index: TagIndex) -> tuple[Values, Bools]:
    width, height, known = _sides(index)
    return np.minimum(width, height), known


def _mpixels(index: TagIndex) -> tuple[Values, Bools]:
    width, height, known = _sides(index)
    return np.multiply(width, height, dtype=np.float64) / 1e6, known


def _ratio(index: TagIndex) -> tuple[Values, Bools]:
    width, height, known = _sides(index)
    return np.divide(width, height, out=np.zeros(len(known)), where=known).round(2), known


def _year(index: TagIndex) -> tuple[Values, Bools]:
    known = index.known("created_at")
    if not known.any():
        return np.zeros(len(known)), known
    days = (np.asarray(index.column("created_at")) // 86_400_000_000).astype("datetime64[D]")
    return days.astype("datetime64[Y]").astype(np.int32) + 1970, known


def _num_tags(*kinds: str) -> Callable[[TagIndex], tuple[Values, Bools]]:
    def count(index: TagIndex) -> tuple[Values, Bools]:
        total = sum((np.asarray(index.column(f"num_{kind}")) for kind in kinds), np.zeros(index.posts, np.int16))
        return total, np.ones(index.posts, dtype=bool)

    return count


DERIVED: Mapping[str, Callable[[TagIndex], tuple[Values, Bools]]] = MappingProxyType(
    {
        "side": _side,
        "mpixels": _mpixels,
        "ratio": _ratio,
        "year": _year,
        "tagcount": _num_tags(*CATEGORIES),
        "gentags": _num_tags("general"),
        "arttags": _num_tags("artist"),
        "copytags": _num_tags("copyright"),
        "chartags": _num_tags("character"),
        "spectags": _num_tags("species"),
        "metatags": _num_tags("meta"),
    }
)


def _turned(pairs: Any) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for tag, other in pairs:
        found.setdefault(other, set()).add(tag)
    return found
