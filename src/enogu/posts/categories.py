"""Tags into categories: by the numbers of a site, and by its table of tags where posts give names alone."""

import json
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np
import polars as pl

from enogu.core.records.errors import Refused
from enogu.core.records.posts import CATEGORIES
from enogu.posts.packed import opened

NAMELESS = ("name", "category", "post_count", "aliases")  # the columns of a tagcomplete list, which has no header


def numbers(site: str) -> Mapping[int, str]:
    """Return what a site's category numbers mean (categories.toml)."""
    tables = tomllib.loads((files(__package__) / "categories.toml").read_text("utf-8"))
    return {int(number): kind for number, kind in tables[site].items()}


def tag_table(path: Path, site: str) -> pl.DataFrame:
    """Read a site's tags: `name` and `kind`, a place in CATEGORIES; from its CSV export or /tag.json, packed or not."""
    if not path.is_file():
        raise Refused(f"posts.tags: there is no {path}; give the dump of the site's tags")
    with opened(path) as handle:
        text = handle.read()
    try:
        table = _json_tags(text) if text.lstrip()[:1] in (b"[", b"{") else _csv_tags(text)
    except (pl.exceptions.PolarsError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"posts.tags: {path} has no names and categories of tags ({error})") from error
    known = {number: CATEGORIES.index(kind) for number, kind in numbers(site).items()}
    kind = pl.col("category").cast(pl.Int64, strict=False).replace_strict(known, default=0, return_dtype=pl.Int8)
    return table.select("name", kind=kind).drop_nulls().unique("name", keep="first", maintain_order=True)


def sorted_tags(frame: pl.DataFrame, table: pl.DataFrame | None) -> pl.DataFrame:
    """Put the words of `tags` into tags_general, tags_artist and so on; an unknown word is general."""
    words = frame["tags"]
    if words.dtype == pl.String:
        words = words.str.split(" ")
    if table is None:
        return frame.with_columns(words.alias("tags_general")).drop("tags")
    counts = words.list.len().fill_null(0).to_numpy()
    flat = words.filter(counts > 0).explode()
    kinds = flat.to_frame("name").join(table, on="name", how="left", maintain_order="left")["kind"].fill_null(0)
    rows = np.repeat(np.arange(len(frame), dtype=np.uint32), counts)
    return frame.drop("tags").with_columns(**lists(rows, kinds.to_numpy(), flat, height=len(frame)))


def lists(rows: np.ndarray, kinds: np.ndarray, words: pl.Series, *, height: int) -> dict[str, pl.Series]:
    """Return a column of lists for each category, from words with their (ascending) row and category."""
    columns = {}
    every = pl.DataFrame({"row": np.arange(height, dtype=np.uint32)})
    for kind, name in enumerate(CATEGORIES):
        here = np.flatnonzero(kinds == kind)
        some = pl.DataFrame({"row": pl.Series(rows[here]).set_sorted(), "words": words.gather(here)})
        grouped = some.group_by("row", maintain_order=True).agg("words")
        columns[f"tags_{name}"] = every.join(grouped, on="row", how="left", maintain_order="left")["words"]
    return columns


def beside(source: Path, *patterns: str) -> Path | None:
    """Return the table of tags that lies beside a dump of posts, the newest by name."""
    found = sorted(path for pattern in patterns for path in source.parent.glob(pattern) if path != source)
    return found[-1] if found else None


def _json_tags(text: bytes) -> pl.DataFrame:
    tags = json.loads(text)
    rows = tags if isinstance(tags, list) else tags["tags"]
    return pl.DataFrame(
        {"name": [tag["name"] for tag in rows], "category": [tag.get("type", tag.get("category")) for tag in rows]},
        schema={"name": pl.String, "category": pl.Int64},
        strict=False,
    )


def _csv_tags(text: bytes) -> pl.DataFrame:
    header = {"name", "category"} <= set(text[: text.find(b"\n")].decode("utf-8", "replace").strip().split(","))
    frame = pl.read_csv(text, has_header=header, infer_schema=False, encoding="utf8-lossy", truncate_ragged_lines=True)
    return frame if header else frame.rename(dict(zip(frame.columns, NAMELESS, strict=False)))
