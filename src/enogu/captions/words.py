"""Words from numbers: quality, aesthetic, rating and year words by the tables of data/words.toml."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl

from enogu.captions.percentile import Peers, percentile
from enogu.core.records.errors import Refused, unknown

KINDS = ("quality", "aesthetic", "year", "rating")
Limit = float | Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One word and the values it is for; a limit may differ by the value of another column."""

    word: str
    at_least: Limit | None = None
    above: Limit | None = None

    def fits(self, value: pl.Expr, by: str) -> pl.Expr:
        """Return whether a value reaches this step."""
        if self.at_least is not None:
            return value >= _limit(self.at_least, by)
        return value > _limit(self.above, by) if self.above is not None else value.is_not_null()


@dataclass(frozen=True, kw_only=True)
class Table:
    """Words for the values of one column, best first."""

    name: str
    of: str
    steps: tuple[Step, ...]
    peers: Peers | None = None
    settle_days: float = 0.0
    last_id: int | None = None
    by: str = ""
    span: tuple[float, float] | None = None


def table(kind: str, name: str, more: str = "") -> Table:
    """Return a table of steps, ours or of the TOML file `more`: kind is quality, aesthetic or year."""
    raw = dict(_named(kind, name, more))
    peers = {key: raw.pop(key) for key in ("percentile_within", "window_days", "half_life_days") if key in raw}
    try:
        return Table(
            name=name,
            steps=tuple(Step(**step) for step in raw.pop("steps")),
            peers=Peers(**{**peers, "percentile_within": tuple(peers["percentile_within"])}) if peers else None,
            **{**raw, "span": tuple(raw["span"]) if "span" in raw else None},
        )
    except (TypeError, KeyError) as problem:
        raise Refused(f"the table {kind}.{name} cannot be read ({problem}): see data/words.toml for the form") from None


def rating_table(name: str, more: str = "") -> Mapping[str, list[str]]:
    """Return the words of each rating."""
    return _named("rating", name, more)


def add_word(posts: pl.LazyFrame, chosen: Table, column: str) -> pl.LazyFrame:
    """Add to each post the word for its number; a post without a value, or one that has not settled, gets none."""
    value = pl.col("created_at").dt.year() if chosen.of == "year" else pl.col(chosen.of)
    posts = posts.with_columns(value=pl.when(_settled(chosen)).then(value))
    if chosen.peers:
        posts = percentile(posts, chosen.peers)
    said = pl.lit(None, dtype=pl.String)
    for step in reversed(chosen.steps):
        said = pl.when(step.fits(pl.col("value"), chosen.by)).then(pl.lit(step.word or None, pl.String)).otherwise(said)
    words = list(dict.fromkeys(step.word for step in chosen.steps if step.word))
    return posts.with_columns(said.cast(pl.Enum(words)).alias(column)).drop("value")


def check_span(posts: pl.LazyFrame, chosen: Table, kind: str) -> None:
    """Refuse posts that a table was not made for, instead of giving them the wrong word."""
    if chosen.span is None:
        return
    first, last = chosen.span
    value = pl.col("created_at").dt.year() if chosen.of == "year" else pl.col(chosen.of)
    outside = value.filter((value < first) | (value > last))
    number, low, high = posts.select(n=outside.len(), low=outside.min(), high=outside.max()).collect().row(0)
    if number:
        remedy = " or leave those years out of posts.where" if kind == "year" else ""
        other = "'fifths'" if kind == "year" else "a table for this scale"
        raise Refused(
            f"{kind} = {chosen.name!r} in [captions] knows {first} to {last}, but {number} posts are from "
            f"{low} to {high}: choose {other}{',' if remedy else ''}{remedy}"
        )


def check_ratings(posts: pl.LazyFrame, words: Mapping[str, list[str]], name: str) -> None:
    """Refuse posts whose rating a table does not list."""
    found = posts.select(pl.col("rating").unique()).collect()["rating"].drop_nulls().sort().to_list()
    if strange := [rating for rating in found if rating not in words]:
        raise Refused(
            f"rating = {name!r} in [captions] has no entry for {', '.join(map(repr, strange))}: list what such a post "
            f"says, if only nothing ([])"
        )


def _settled(chosen: Table) -> pl.Expr:
    settled = pl.lit(True)
    if chosen.settle_days:
        young = pl.col("created_at") > pl.col("created_at").max() - pl.duration(seconds=chosen.settle_days * 86400)
        settled &= ~young.fill_null(False)
    return settled & (pl.col("id") <= chosen.last_id) if chosen.last_id is not None else settled


def _limit(limit: Limit, by: str) -> pl.Expr:
    if isinstance(limit, Mapping):
        return pl.col(by).cast(pl.String).replace_strict(dict(limit), default=None, return_dtype=pl.Float64)
    return pl.lit(limit)


@cache
def _tables(more: str) -> dict[str, dict[str, Any]]:
    ours = tomllib.loads((files(__package__) / "data" / "words.toml").read_text("utf-8"))
    try:
        theirs = tomllib.loads(Path(more).read_text("utf-8")) if more else {}
    except (OSError, ValueError) as problem:
        raise Refused(f"words = {more!r} in [captions] cannot be read: {problem}") from None
    if strange := set(theirs) - set(KINDS):
        raise Refused(f"{more}: {unknown('kind of table', min(strange), KINDS)}")
    return {kind: {**ours[kind], **theirs.get(kind, {})} for kind in KINDS}


def _named(kind: str, name: str, more: str) -> dict[str, Any]:
    tables = _tables(more)[kind]
    if name not in tables:
        raise unknown(f"table in captions.{kind}", name, tables)
    found: dict[str, Any] = tables[name]
    return found
