"""The SQLite form of danbooru2023 (tables post, tag, posttagrelation, localpost; HakuBooru's models).

Trap: `tag.type` counts general, artist, character, copyright, meta from 0, which is neither the order nor
the numbers of Danbooru's own categories.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

import polars as pl

from enogu.core.records.errors import Refused
from enogu.posts.normal import Batch

POSTS = 20_000  # in one batch
KINDS = ("general", "artist", "character", "copyright", "meta")  # what tag.type 0 to 4 mean
TABLES = ("post", "tag", "posttagrelation")
COLUMNS = MappingProxyType(
    {
        "id": "id",
        "md5": "md5",
        "rating": "rating",
        "created_at": "created_at",
        "score": "score",
        "fav_count": "fav_count",
        "width": "image_width",
        "height": "image_height",
        "file_ext": "file_ext",
        "is_deleted": "is_deleted",
        "is_banned": "is_banned",
    }
)
TYPES = MappingProxyType(
    dict.fromkeys(("md5", "rating", "created_at", "file_ext", "image", "name", "is_deleted", "is_banned"), pl.String())
)  # everything else is a whole number
PAIRS = "SELECT post_id AS id, tag_id FROM posttagrelation WHERE post_id BETWEEN ? AND ? ORDER BY post_id, rowid"


def read(source: Path) -> Iterator[Batch]:
    """Yield the posts of a database in order of id, with their tags."""
    with closing(sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True)) as database:
        try:
            posts_of = _posts_query(_tables(database, source))
            tags = _frame(database, "SELECT id AS tag_id, name, type FROM tag")
            last = -(2**63)
            while len(posts := _frame(database, posts_of, last, POSTS)):
                first, last = posts["id"][0], posts["id"][-1]
                pairs = _frame(database, PAIRS, first, last)
                yield Batch(_with_tags(posts, pairs.join(tags, on="tag_id", maintain_order="left")))
        except sqlite3.DatabaseError as error:
            raise Refused(f"{source} cannot be read as SQLite ({error}); check posts.source") from error


def _tables(database: sqlite3.Connection, source: Path) -> frozenset[str]:
    rows = database.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
    found = frozenset(name for (name,) in rows)
    if missing := [name for name in TABLES if name not in found]:
        raise Refused(f"{source} has no table {', '.join(missing)}: it is not in the form of danbooru2023")
    return found


def _posts_query(tables: frozenset[str]) -> str:
    columns = ", ".join(f"post.{theirs} AS {ours}" for ours, theirs in COLUMNS.items())
    if "localpost" not in tables:
        return f"SELECT {columns} FROM post WHERE id > ? ORDER BY id LIMIT ?"
    join = "LEFT JOIN localpost ON localpost.post_id = post.id"
    return f"SELECT {columns}, localpost.filepath AS image FROM post {join} WHERE post.id > ? ORDER BY post.id LIMIT ?"


def _frame(database: sqlite3.Connection, query: str, *values: int) -> pl.DataFrame:
    cursor = database.execute(query, values)
    names = [column[0] for column in cursor.description]
    columns = list(zip(*cursor.fetchall(), strict=True)) or [()] * len(names)
    dtypes = [TYPES.get(name, pl.Int64()) for name in names]
    return pl.DataFrame([pl.Series(*column, strict=False) for column in zip(names, columns, dtypes, strict=True)])


def _with_tags(posts: pl.DataFrame, tags: pl.DataFrame) -> pl.DataFrame:
    kinds = {
        f"tags_{kind}": pl.col("name").filter(pl.col("type") == number).str.join(" ")
        for number, kind in enumerate(KINDS)
    }
    return posts.join(tags.group_by("id").agg(**kinds), on="id", how="left", maintain_order="left")
