"""Sites' JSON posts into columns, as blueprints.toml says: by Polars at once, or the same by hand."""

import json
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, reduce
from importlib.resources import files
from typing import Any

import polars as pl

from enogu.posts.categories import numbers

WORD = pl.String()
LIST = pl.List(WORD)
NAMED = pl.List(pl.Struct({"name": pl.String(), "category": pl.String()}))
EXTENSION = r"\.(\w{2,5})(?:\?|$)"  # of a URL


@dataclass(frozen=True)
class Blueprint:
    """One shape of posts."""

    name: str
    marks: tuple[str, ...]
    paths: tuple[tuple[str, tuple[str, ...]], ...]  # our column, their paths
    numbers: str = ""
    ratings: str = ""

    def fits(self, post: dict[str, Any]) -> bool:
        """Tell whether a post has this shape."""
        return all(_at(post, mark.split(".")) is not None for mark in self.marks)

    def fits_all(self, frame: pl.DataFrame) -> bool:
        """Tell whether every post that was read has this shape, as far as the columns read can tell."""
        read = {path.partition("[")[0] for _, paths in self.paths for path in paths if not path.endswith("[]{}")}
        marks = [_read(mark).null_count() for mark in self.marks if mark in read]
        return not any(frame.select(count.alias(str(place)) for place, count in enumerate(marks)).row(0))

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Return what is read of the JSON; every value is read as text, so that no type is a surprise."""
        tree: dict[str, Any] = {}
        for path in (path for _, paths in self.paths for path in paths):
            *branch, leaf = path.split(".")
            node = reduce(lambda inner, key: inner.setdefault(key, {}), branch, tree)
            node[leaf.partition("[")[0]] = NAMED if leaf.endswith("[]{}") else LIST if leaf.endswith("[]") else WORD
        return {key: _dtype(value) for key, value in tree.items()}

    def columns(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Bring what was read under our names."""
        shaped = frame.select(**{name: self._column(name, paths) for name, paths in self.paths})
        if "url" in shaped.columns:
            shaped = shaped.with_columns(withheld=pl.col("url").is_null())
            ours = pl.col("file_ext") if "file_ext" in shaped.columns else pl.lit(None, dtype=pl.String)
            shaped = shaped.with_columns(file_ext=pl.coalesce(ours, pl.col("url").str.extract(EXTENSION)))
        if "status" in shaped.columns:
            stands = {f"is_{word}": pl.col("status") == word for word in ("deleted", "flagged")}
            held = (pl.col("status") == "pending") | (pl.col("is_pending") == "true")
            shaped = shaped.with_columns(**stands, is_pending=held)
        return shaped

    def _column(self, name: str, paths: tuple[str, ...]) -> pl.Expr:
        values = [_read(path) for path in paths]
        if name == "source_url" and paths[0].endswith("[]"):
            return values[0].list.first()
        if name.startswith("tags_") and len(values) > 1:
            return pl.concat_list(value.fill_null([]) for value in values)
        return values[0]


@cache
def blueprints() -> tuple[Blueprint, ...]:
    """Return every blueprint; the more particular ones come first."""
    tables = tomllib.loads((files(__package__) / "blueprints.toml").read_text("utf-8"))
    return tuple(_blueprint(name, table) for name, table in tables.items())


def fitting(post: object, names: Iterable[str]) -> Blueprint | None:
    """Return the first of some blueprints that a post has."""
    if not isinstance(post, dict):
        return None
    return next((each for each in blueprints() if each.name in names and each.fits(post)), None)


def by_category(frame: pl.DataFrame, site: str) -> pl.DataFrame:
    """Put tags that carry their category's number into a column for each category."""
    kinds: dict[str, list[str]] = {}
    for number, kind in numbers(site).items():
        kinds.setdefault(f"tags_{kind}", []).append(str(number))
    tag = pl.element().struct
    lists = {
        name: pl.col("tags").list.eval(tag.field("name").filter(tag.field("category").is_in(which)))
        for name, which in kinds.items()
    }
    return frame.with_columns(**lists).drop("tags")


def by_hand(posts: Iterable[dict[str, Any]], blueprint: Blueprint) -> pl.DataFrame:
    """Read parsed posts as Polars would read their text, whatever types their values have."""
    schema = blueprint.schema
    rows = [{key: _fitted(post.get(key), dtype) for key, dtype in schema.items()} for post in posts]
    return pl.DataFrame(rows, schema=schema)


def _blueprint(name: str, table: dict[str, Any]) -> Blueprint:
    known = {key: table.pop(key, default) for key, default in (("marks", ()), ("numbers", ""), ("ratings", ""))}
    paths = tuple((column, (path,) if isinstance(path, str) else tuple(path)) for column, path in table.items())
    return Blueprint(name, tuple(known["marks"]), paths, known["numbers"], known["ratings"])


def _at(value: Any, keys: list[str]) -> Any:
    for key in keys:
        if isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, dict):
            value = value.get(key)
        else:
            return None
    return value


def _dtype(value: Any) -> pl.DataType:
    return pl.Struct({key: _dtype(inner) for key, inner in value.items()}) if isinstance(value, dict) else value


def _read(path: str) -> pl.Expr:
    first, *rest = (key.partition("[")[0] for key in path.split("."))
    return reduce(lambda value, key: value.struct.field(key), rest, pl.col(first))


def _fitted(value: Any, dtype: pl.DataType) -> Any:
    if isinstance(dtype, pl.Struct):
        fields: Iterator[pl.Field] = iter(dtype.fields)
        held = value if isinstance(value, dict) else {}
        return {field.name: _fitted(held.get(field.name), field.dtype) for field in fields}  # type: ignore[arg-type]
    if isinstance(dtype, pl.List):
        return [_fitted(each, dtype.inner) for each in value] if isinstance(value, list) else None  # type: ignore[arg-type]
    if value is None or isinstance(value, str):
        return value if value is None else value.encode("utf-8", "replace").decode()
    return json.dumps(value)
