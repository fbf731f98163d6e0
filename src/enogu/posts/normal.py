"""The normal form: whatever a source calls its columns, the rest of the house reads one schema."""

import tomllib
from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import polars as pl

from enogu.core.records.errors import unknown
from enogu.core.records.posts import CATEGORIES, SCHEMA
from enogu.posts.batch import Batch
from enogu.posts.paths import image_path

ISO = "%Y-%m-%dT%H:%M:%S%.f%:z"
HAS_ZONE = r"[+-]\d\d:\d\d$"
SECONDS = r"^\d{9,10}$"  # since 1970, as Moebooru writes times: 1973 to 2286
TAG_COLUMNS = tuple(f"tags_{kind}" for kind in CATEGORIES)
FLAGS = tuple(name for name, dtype in SCHEMA.items() if dtype == pl.Boolean)
NUMBERS = tuple(name for name, dtype in SCHEMA.items() if dtype.is_numeric())
TEXTS = ("md5", "pixel_hash", "file_ext", "source_url", "caption")


@cache
def rating_table(name: str) -> Mapping[str, str]:
    """Return what each raw rating of a source means (ratings.toml)."""
    tables: dict[str, dict[str, str]] = tomllib.loads((files(__package__) / "ratings.toml").read_text("utf-8"))
    if name not in tables:
        raise unknown("table in posts.ratings", name, tables)
    return MappingProxyType({**tables["folder"], **tables[name]})


def normal(batch: Batch, *, site: str, ratings: Mapping[str, str], file: str) -> pl.DataFrame:
    """Bring a batch into core.records.posts.SCHEMA; a column that the source lacks is null or empty."""
    raw = batch.raw
    missing = {name: pl.lit(None, dtype=pl.String) for name in SCHEMA if name not in raw.columns}
    frame = raw.with_columns(**missing)
    rating = pl.col("rating").cast(pl.String).str.strip_chars()
    plain = frame.select(
        **{name: _number(pl.col(name), frame.schema[name], SCHEMA[name]) for name in NUMBERS},
        **{name: _text(pl.col(name)) for name in TEXTS},
        **{name: _truth(pl.col(name)) for name in FLAGS},
        **{name: _tags(pl.col(name), frame.schema[name], tidy=batch.tidy) for name in TAG_COLUMNS},
        source=pl.lit(site),
        rating=rating.str.to_lowercase().replace_strict(dict(ratings), default="unknown", return_dtype=pl.String),
        rating_raw=rating,
        created_at=_time(frame["created_at"]),
        image=_path(pl.col("image")),
    )
    withheld = frame["withheld"] if "withheld" in frame.columns else pl.lit(False)
    return plain.with_columns(
        image=pl.coalesce("image", pl.when(~withheld).then(image_path(file))),
        rating=pl.col("rating").fill_null("unknown"),
        down_score=pl.col("down_score").abs(),
    ).select(*SCHEMA)


def remarks(raw: pl.DataFrame, frame: pl.DataFrame) -> Counter[str]:
    """Count what was read, but not as its source may have meant it."""
    found: dict[str, int] = {}
    for name in set(raw.columns) & {*NUMBERS, "created_at"}:
        lost = (
            _text(pl.col(name)).is_not_null() if raw.schema[name] == pl.String else pl.col(name).is_not_null()
        ).sum()
        found[f"{name} not understood"] = raw.select(lost).item() - frame[name].count()
    if raw.schema.get("created_at") == pl.String:
        bare = pl.col("created_at").str.strip_chars().str.contains(rf"Z$|UTC$|{SECONDS}|{HAS_ZONE}").not_()
        found["time without a zone, taken as UTC"] = raw.filter(bare).height
    return Counter({remark: count for remark, count in found.items() if count > 0})


def first_of_id(ids: pl.Series) -> pl.Series:
    """Tell which posts are the first of their id; rising ids, the usual case, need no look at each other."""
    rising = (ids.diff().drop_nulls() > 0).all()
    return pl.repeat(True, len(ids), eager=True) if rising else ids.is_first_distinct()


def _number(value: pl.Expr, held: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    """Read 12, "12" and "12.0", as a table that once went through pandas has it."""
    if held == pl.String and wanted.is_integer():
        value = value.str.strip_chars().str.strip_suffix(".0")
    return value.cast(wanted, strict=False)


def _text(value: pl.Expr) -> pl.Expr:
    text = value.cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def _path(value: pl.Expr) -> pl.Expr:
    text = _text(value)
    return pl.when(~text.str.contains("\0", literal=True)).then(text)  # which no file can be called


def _truth(flag: pl.Expr) -> pl.Expr:
    return flag.cast(pl.String).str.to_lowercase().is_in(["true", "1", "t"]).fill_null(False)


def _time(held: pl.Series) -> pl.Series:
    """Read ISO 8601 in its common spellings, and seconds since 1970; a time without a zone is taken as UTC."""
    if isinstance(held.dtype, pl.Datetime):
        zoned = held.dt.replace_time_zone("UTC") if held.dtype.time_zone is None else held.dt.convert_time_zone("UTC")
        return zoned.cast(SCHEMA["created_at"])
    plain = held.cast(pl.String).str.to_datetime(ISO, strict=False, time_unit="us")
    return plain if plain.null_count() == held.null_count() else pl.select(_spelt(pl.lit(held))).to_series()


def _spelt(value: pl.Expr) -> pl.Expr:
    text = value.cast(pl.String).str.strip_chars().str.replace(" UTC", "Z", literal=True)
    text = text.str.replace(" ", "T", literal=True).str.replace(r"Z$", "+00:00")
    text = pl.when(text.str.len_chars() == 10).then(text + "T00:00:00").otherwise(text)
    text = text.str.replace(r"([+-]\d\d):?(\d\d)?$", "$1:$2").str.replace(r"([+-]\d\d):$", "$1:00")
    zoned = pl.when(text.str.contains(HAS_ZONE)).then(text).otherwise(text + "+00:00")
    seconds = pl.from_epoch(value.cast(pl.String).str.extract(f"({SECONDS})").cast(pl.Int64), time_unit="s")
    iso = zoned.str.to_datetime(ISO, strict=False, time_unit="us").dt.convert_time_zone("UTC")
    return pl.coalesce(iso, seconds.dt.replace_time_zone("UTC").cast(SCHEMA["created_at"]))


def _tags(value: pl.Expr, held: pl.DataType, *, tidy: bool) -> pl.Expr:
    """Read a list, or words between spaces, as composed Unicode (NFC)."""
    if tidy and held == pl.List(pl.String):
        return value.fill_null([])
    real = pl.element().filter(pl.element() != "")
    if isinstance(held, pl.List):
        words = pl.element().map_batches(composed, return_dtype=pl.String, is_elementwise=True)
        spaced = words.str.strip_chars().str.replace_all(" ", "_", literal=True)
        return value.cast(pl.List(pl.String)).list.eval(spaced).list.eval(real).fill_null([])
    text = value.cast(pl.String).map_batches(composed, return_dtype=pl.String, is_elementwise=True)
    return text.str.replace_all(r"[\t\r\n]", " ").fill_null("").str.split(" ").list.eval(real)


def composed(words: pl.Series) -> pl.Series:
    """Return text in Unicode's composed form; plain ASCII, nearly all of it, is left where it is."""
    odd = (words.str.len_bytes() != words.str.len_chars()).fill_null(False)
    return words.zip_with(~odd, words.filter(odd).str.normalize("NFC").gather(_ranks(odd))) if odd.any() else words


def _ranks(odd: pl.Series) -> pl.Series:
    return (odd.cast(pl.UInt32).cum_sum().cast(pl.Int64) - 1).clip(0)
