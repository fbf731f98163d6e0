"""e621's daily CSV exports: posts-DATE.csv.gz, whose tags have no categories, joined with tags-DATE.csv.gz.

The columns are those of app/logical/db_export.rb; a missing one is empty, an unknown one is passed over.
"""

import csv
import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import MappingProxyType

import polars as pl

from enogu.core.records.errors import Refused
from enogu.posts.batch import Asked, Batch, Skip
from enogu.posts.categories import sorted_tags, tag_table
from enogu.posts.packed import BROKEN, head, opened

ROWS = 50_000  # in one batch
COLUMNS = MappingProxyType(
    {
        "id": "id",
        "created_at": "created_at",
        "md5": "md5",
        "source": "source_url",
        "rating": "rating",
        "image_width": "width",
        "image_height": "height",
        "tag_string": "tags",
        "fav_count": "fav_count",
        "file_ext": "file_ext",
        "file_size": "file_size",
        "parent_id": "parent_id",
        "is_deleted": "is_deleted",
        "is_pending": "is_pending",
        "is_flagged": "is_flagged",
        "score": "score",
        "up_score": "up_score",
        "down_score": "down_score",
    }
)  # theirs: ours
NEEDED = frozenset({"id", "rating", "tag_string"})


def fits(path: Path) -> bool:
    """Tell whether a file begins like an export of posts."""
    return set(_header(path)) >= NEEDED


def read(source: Path, asked: Asked) -> Iterator[Batch]:
    """Yield the posts of an export; a row that is none is skipped and named by its line."""
    header = _header(source)
    if missing := sorted(NEEDED - set(header)):
        raise Refused(f"{source} has no column {', '.join(missing)}: it is no export of e621's posts")
    table = tag_table(asked.tags, "e621") if asked.tags else None
    rows = islice(_rows(source, len(header)), asked.after or 0, None)
    done = asked.after or 0
    while chunk := list(islice(rows, ROWS)):
        done += len(chunk)
        posts = [row for row in chunk if isinstance(row, list)]
        frame = pl.DataFrame(
            {
                ours: [row[header.index(theirs)] for row in posts]
                for theirs, ours in COLUMNS.items()
                if theirs in header
            },
            schema_overrides=dict.fromkeys(COLUMNS.values(), pl.String()),
        ).with_columns(pl.col("source_url").str.split("\n").list.first() if "source" in header else [])
        yield Batch(sorted_tags(frame, table), tuple(row for row in chunk if isinstance(row, Skip)), done)


def _header(path: Path) -> list[str]:
    line = head(path, 1 << 14).partition(b"\n")[0].decode("utf-8-sig", "replace").strip()
    return next(csv.reader([line]), [])


def _rows(source: Path, width: int) -> Iterator[list[str] | Skip]:
    with opened(source) as handle:
        rows = csv.reader(io.TextIOWrapper(handle, "utf-8", "surrogateescape", newline=""), strict=True)
        next(rows)
        while True:
            before = rows.line_num
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield Skip(f"lines {before + 1} to {rows.line_num}", f"not CSV ({error})")
                continue
            except BROKEN as error:
                yield Skip(f"line {rows.line_num}", f"the file is damaged from here on ({error})")
                return
            reason = _unfit(row, width)
            yield Skip(f"line {rows.line_num}", reason) if reason else row


def _unfit(row: list[str], width: int) -> str:
    if len(row) != width:
        return "empty line" if not row else "too many or too few columns"
    if not row[0].removeprefix("-").isdecimal():
        return "no id"
    return "" if all(map(_encodes, row)) else "not UTF-8"


def _encodes(text: str) -> bool:
    return text.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in text)
