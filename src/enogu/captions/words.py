"""Words from numbers: quality, aesthetic, rating and year words by the tables of words.toml."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import polars as pl

from enogu.core.records.errors import Refused, unknown


@dataclass(frozen=True, kw_only=True)
class Step:
    """One word and the values it is for."""

    word: str
    at_least: float | None = None
    above: float | None = None

    def fits(self, value: pl.Expr) -> pl.Expr:
        """Return whether a value reaches this step."""
        if self.at_least is not None:
            return value >= self.at_least
        return value > self.above if self.above is not None else value.is_not_null()


@dataclass(frozen=True, kw_only=True)
class Table:
    """Words for the values of one column, best first."""

    of: str
    steps: tuple[Step, ...]
    percentile_within: tuple[str, ...] | None = None
    span: tuple[int, int] | None = None


def table(kind: str, name: str) -> Table:
    """Return a table of steps of words.toml: kind is quality, aesthetic or year."""
    raw = _named(kind, name)
    within = raw.get("percentile_within")
    return Table(
        of=raw["of"],
        steps=tuple(Step(**step) for step in raw["steps"]),
        percentile_within=None if within is None else tuple(within),
        span=tuple(raw["span"]) if "span" in raw else None,
    )


def word(chosen: Table) -> pl.Expr:
    """Return the word of each post as a string; a post without a value gets none."""
    value = pl.col("created_at").dt.year() if chosen.of == "year" else pl.col(chosen.of)
    if chosen.percentile_within is not None:
        value = percentile(value, chosen.percentile_within)
    said = pl.lit(None, dtype=pl.String)
    for step in reversed(chosen.steps):
        said = pl.when(step.fits(value)).then(pl.lit(step.word)).otherwise(said)
    return said


def percentile(value: pl.Expr, within: tuple[str, ...]) -> pl.Expr:
    """Return the percentage of posts in the same group with a lower value, ties counting half."""
    rank, number = value.rank("average"), value.count()
    if within:
        rank, number = rank.over(within), number.over(within)
    return (rank - 0.5) / number * 100


def rating_words(name: str) -> pl.Expr:
    """Return the words of each post's rating, as a list."""
    words = _named("rating", name)
    said = pl.lit([], dtype=pl.List(pl.String))
    for rating, listed in words.items():
        said = pl.when(pl.col("rating") == rating).then(pl.lit(listed)).otherwise(said)
    return said


def check_span(posts: pl.DataFrame, chosen: Table, name: str) -> None:
    """Refuse posts from years that a table was not made for, instead of giving them the wrong word."""
    if chosen.span is None:
        return
    first, last = chosen.span
    years = posts["created_at"].dt.year().drop_nulls().to_list()
    if outside := [year for year in years if not first <= year <= last]:
        raise Refused(
            f"year = {name!r} in [captions] knows {first} to {last}, but {len(outside)} posts are from "
            f"{min(outside)} to {max(outside)}: choose 'fifths', or leave those years out of posts.where"
        )


@cache
def _tables() -> dict[str, dict[str, Any]]:
    return tomllib.loads((files(__package__) / "words.toml").read_text("utf-8"))


def _named(kind: str, name: str) -> dict[str, Any]:
    tables = _tables()[kind]
    if name not in tables:
        raise unknown(f"table in captions.{kind}", name, tables)
    found: dict[str, Any] = tables[name]
    return found
