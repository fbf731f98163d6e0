"""Parquet of any shape: the recipe's `columns` say which of its columns is which of ours.

What `columns` leaves out goes by our own name, or by Danbooru's, where the file has such a column.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from enogu.core.records.errors import Refused, unknown
from enogu.core.records.posts import SCHEMA
from enogu.posts.batch import Asked, Batch
from enogu.posts.blueprints import blueprints
from enogu.posts.categories import sorted_tags, tag_table

ROWS = 100_000  # in one batch


def read(source: Path, asked: Asked) -> Iterator[Batch]:
    """Yield the rows of a file."""
    try:
        held = pl.Schema(pl.read_parquet_schema(source))
        columns = _columns(held, asked, source)
        table = tag_table(asked.tags, "danbooru") if asked.tags else None
        site = "danbooru" if "tag_string_general" in held else ""
        frame, start = pl.scan_parquet(source).select(**columns), asked.after or 0
        while len(posts := frame.slice(start, ROWS).collect()):
            start += len(posts)
            yield Batch(
                sorted_tags(posts, table) if "tags" in posts.columns else posts, mark=start, site=site, ratings=site
            )
    except (pl.exceptions.ComputeError, OSError) as error:
        raise Refused(f"{source} cannot be read as Parquet ({error}); check posts.source") from error


def _columns(held: pl.Schema, asked: Asked, source: Path) -> dict[str, pl.Expr]:
    danbooru = next(each for each in blueprints() if each.name == "danbooru")
    known = {ours: paths[0] for ours, paths in danbooru.paths if "." not in paths[0]}
    known |= {name: name for name in [*SCHEMA, "tags"] if name in held}
    if "tag_string" in held and not any(name in held for name in ("tag_string_general", "tags_general", "tags")):
        known["tags"] = "tag_string"
    for ours, theirs in (asked.columns or {}).items():
        if theirs not in held:
            raise Refused(f"posts.columns.{ours}: {unknown('column', theirs, held)}")
        known[ours] = theirs
    columns = {ours: pl.col(theirs) for ours, theirs in known.items() if theirs in held}
    if "id" not in columns:
        raise Refused(
            f'{source} has no column for id; give posts.columns, as {{ id = "post_id" }}; it has {", ".join(held)}'
        )
    return columns
