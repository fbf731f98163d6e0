"""The query: gates and conditions in a fixed order, each counted, so that one sees where posts were lost."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from enogu.core.records.posts import CATEGORIES
from enogu.core.records.seed import derive
from enogu.posts.blocklist import barred
from enogu.posts.config import Where
from enogu.posts.query import And, Between, Like, Not, OneOf, Or, Query, Tag, show
from enogu.posts.query_columns import columns
from enogu.posts.query_masks import Relations, holds, strangers
from enogu.posts.query_syntax import parse, pointed
from enogu.posts.tag_index import Bools, TagIndex

Funnel = dict[str, int]  # how many posts were left after each step, in order
Ints = npt.NDArray[np.int64]
Step = Callable[[], Bools]


@dataclass(frozen=True)
class Selection:
    """The rows of the chosen posts, rising; how many were left after each step; what was asked for in vain."""

    rows: Ints
    funnel: Funnel
    notes: tuple[str, ...]


def select(
    index: TagIndex,
    where: Where,
    *,
    seed: int,
    relations: Relations | None = None,
    opted_out: Collection[tuple[str, int]] = (),
) -> Selection:
    """Choose posts."""
    relations = relations or Relations()
    left, funnel = np.ones(index.posts, dtype=bool), {}
    for name, step in _steps(index, where, seed, relations=relations, opted_out=opted_out):
        left &= step()
        funnel[name] = int(left.sum())
    for name, most in where.caps.items():
        left &= _within(index, name, most, left=left, seed=seed)
    if where.caps:
        funnel["caps"] = int(left.sum())
    rows = np.flatnonzero(left)
    if where.sample is not None:
        rows = np.sort(rows[np.argsort(draws(index.column("id")[rows], seed), kind="stable")[: where.sample]])
        funnel["sample"] = len(rows)
    return Selection(rows, funnel, tuple(_notes(index, where, relations)))


def _steps(
    index: TagIndex, where: Where, seed: int, *, relations: Relations, opted_out: Collection[tuple[str, int]]
) -> Iterator[tuple[str, Step]]:
    """Yield each step of the funnel; what lacks an answer is not kept. No setting leaves out those without an `if`."""

    def asked(query: Query) -> Step:
        return lambda: holds(query, index, relations)

    yield "valid and new id", lambda: (index.column("id") >= 0) & index.column("fresh").astype(bool)
    yield "not on the blocklist by another name", lambda: ~barred(index, relations)
    yield "not opted out", lambda: ~_listed(index, opted_out)
    if not where.deleted:
        yield "not deleted", asked(_flag("deleted", value=0))
    if not where.banned:
        yield "not banned", asked(_flag("banned", value=0))
    yield "not withheld", lambda: index.column("has_image").astype(bool)
    yield "rating", asked(OneOf(columns()["rating"], tuple(where.rating)))
    for name, query in _conditions(where):
        yield name, asked(query)
    if where.part != (0.0, 1.0):
        yield "part", lambda: _part(draws(index.column("id"), seed), *where.part)


def _conditions(where: Where) -> Iterator[tuple[str, Query]]:
    """Yield what the table asks, as queries."""
    if where.score_min is not None:
        yield "score_min", Between(columns()["score"], low=where.score_min)
    if where.score_max is not None:
        yield "score_max", Between(columns()["score"], high=where.score_max)
    if where.year:
        yield "year", Between(columns()["year"], *where.year)
    if where.tags_all:
        yield "tags_all", And(tuple(map(_tag, where.tags_all)))
    if where.tags_any:
        yield "tags_any", Or(tuple(map(_tag, where.tags_any)))
    if where.tags_none:
        yield "tags_none", And(tuple(Not(_tag(tag)) for tag in where.tags_none))
    asked = parse(where.query)
    for part in asked.parts if isinstance(asked, And) else (asked,):
        yield f"query: {show(part)}", part
    small = (Between(columns()[side], high=where.min_side, below=True) for side in ("width", "height"))
    yield "min_side", Not(Or(tuple(small)))  # where the size is unknown, the image will tell
    yield "max_pixels", Not(Between(columns()["mpixels"], low=where.max_pixels / 1e6, above=True))


def draws(ids: npt.ArrayLike, seed: int) -> npt.NDArray[np.float64]:
    """Return a number in [0, 1) for each id, decided by the seed and the id alone (splitmix64, Steele et al. 2014)."""
    z = np.asarray(ids).astype(np.uint64) ^ np.uint64(derive(seed, "posts"))
    z += np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _within(index: TagIndex, name: str, most: int, *, left: Bools, seed: int) -> Bools:
    """Keep at most so many posts of each tag of a category, or of one tag: those that the seed draws first.

    A post that is beyond the cap of one of its tags goes, whatever its others say.
    """
    kept = np.ones(index.posts, dtype=bool)
    which = pl.col("kind") == name if name in CATEGORIES else pl.col("tag") == name
    for rows in index.rows(index.tags.filter(which & (pl.col("count") > most))):
        here = rows[left[rows]]
        if len(here) > most:
            order = np.argsort(draws(index.column("id")[here], seed), kind="stable")
            kept[here[order[most:]]] = False
    return kept


def _listed(index: TagIndex, posts: Collection[tuple[str, int]]) -> Bools:
    """Tell which posts are named by (source, id); an empty source means any."""
    ids = index.column("id")
    mask = np.zeros(index.posts, dtype=bool)
    for site in sorted({source for source, _ in posts}):
        found = np.isin(ids, [number for source, number in posts if source == site])
        mask |= found & index.coded("source", [site]) if site else found
    return mask


def _part(drawn: npt.NDArray[np.float64], low: float, high: float) -> Bools:
    return np.asarray((drawn >= low) & (drawn < high))


def _flag(name: str, *, value: int) -> Query:
    return Between(columns()[name], low=value, high=value)


def _tag(pattern: str) -> Query:
    pattern = pattern.strip().replace(" ", "_")
    return Like(pattern) if "*" in pattern else Tag(pattern)


def _notes(index: TagIndex, where: Where, relations: Relations) -> Iterator[str]:
    """Yield what no post has: a slip of the pen, or a tag that another source would have."""
    for name in ("tags_all", "tags_any", "tags_none"):
        for tag in getattr(where, name):
            for _, near in strangers(_tag(tag), index, relations):
                yield _note(tag, near) + f" (where.{name})"
    for asked, near in strangers(parse(where.query), index, relations):
        if isinstance(asked, Tag):
            yield str(pointed(_note(asked.name, near), where.query, asked.at))
        else:
            yield _note(asked.pattern, near)


def _note(tag: str, near: str) -> str:
    return f"no post has {tag!r}" + (f"; did you mean {near!r}?" if near else "")
