"""The normal form: whatever a source calls its columns, the rest of the house reads one schema."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from string import Formatter

import polars as pl

from enogu.core.records.errors import unknown
from enogu.core.records.posts import CATEGORIES, SCHEMA

TIME = "%Y-%m-%dT%H:%M:%S%.f%:z"
HAS_ZONE = r"(?:[+-]\d\d:\d\d)$"


@dataclass(frozen=True)
class Skip:
    """Something that could not be used, and why."""

    at: str  # a line, a file, a post
    reason: str


@dataclass(frozen=True)
class Batch:
    """Some posts, still in their source's own words, and what could not be read beside them."""

    raw: pl.DataFrame
    skipped: tuple[Skip, ...] = ()


def rating_table(name: str) -> Mapping[str, str]:
    """Return what each raw rating of a source means (ratings.toml)."""
    tables: dict[str, dict[str, str]] = tomllib.loads((files(__package__) / "ratings.toml").read_text("utf-8"))
    if name not in tables:
        raise unknown("table in posts.ratings", name, tables)
    return tables[name]


def normal(raw: pl.DataFrame, *, site: str, ratings: Mapping[str, str], file: str) -> pl.DataFrame:
    """Bring a batch into core.records.posts.SCHEMA; a column that the source lacks is null or empty."""
    missing = {name: pl.lit(None, dtype=pl.String) for name in SCHEMA if name not in raw.columns}
    frame = raw.with_columns(**missing).with_columns(rating_raw=pl.col("rating").cast(pl.String))
    return frame.select(
        **{name: pl.col(name).cast(dtype, strict=False) for name, dtype in SCHEMA.items() if name not in _DERIVED},
        source=pl.lit(site),
        rating=pl.col("rating_raw").replace_strict(ratings, default="unknown").fill_null("unknown"),
        created_at=_time(pl.col("created_at")),
        image=pl.coalesce("image", _file(file)),
        is_deleted=_truth(pl.col("is_deleted")),
        is_banned=_truth(pl.col("is_banned")),
        **{f"tags_{kind}": _tags(pl.col(f"tags_{kind}")) for kind in CATEGORIES},
    ).select(*SCHEMA)


_DERIVED = frozenset(
    {"source", "rating", "created_at", "image", "is_deleted", "is_banned", *(f"tags_{kind}" for kind in CATEGORIES)}
)


def _time(text: pl.Expr) -> pl.Expr:
    """Read ISO 8601 in its common spellings; a time without a zone is taken as UTC."""
    text = text.str.strip_chars().str.replace(" ", "T", literal=True).str.replace(r"Z$", "+00:00")
    text = pl.when(text.str.len_chars() == 10).then(text + "T00:00:00").otherwise(text)
    zoned = pl.when(text.str.contains(HAS_ZONE)).then(text).otherwise(text + "+00:00")
    return zoned.str.to_datetime(TIME, strict=False, time_unit="us").dt.convert_time_zone("UTC")


def _file(template: str) -> pl.Expr:
    """Fill a path such as {id}.{file_ext}; a post without an md5 is withheld by its site and gets none."""
    names = [name for _, name, _, _ in Formatter().parse(template) if name]
    path = pl.format(re.sub(r"\{\w+\}", "{}", template), *names)
    return pl.when(pl.col("md5").is_not_null()).then(path)


def _truth(flag: pl.Expr) -> pl.Expr:
    return flag.cast(pl.String).str.to_lowercase().is_in(["true", "1", "t"]).fill_null(False)


def _tags(text: pl.Expr) -> pl.Expr:
    return text.fill_null("").str.normalize("NFC").str.extract_all(r"\S+")
