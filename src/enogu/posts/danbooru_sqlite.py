"""The SQLite form of danbooru2023 (tables post, tag, posttagrelation, localpost; HakuBooru's models).

Trap: `tag.type` counts general, artist, character, copyright, meta from 0, which is neither the order nor
the numbers of Danbooru's own categories.

One of its two published versions has no index on the hundreds of millions of pairs of post and tag. So they are
read once, front to back, and set aside by the batch of posts that they belong to.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

import numpy as np
import polars as pl
from adbc_driver_manager import Error as DriverError

from enogu.core.records.errors import Refused
from enogu.core.records.posts import CATEGORIES
from enogu.posts.batch import Asked, Batch
from enogu.posts.categories import lists, numbers
from enogu.posts.normal import composed
from enogu.posts.pairs import Pairs, Places
from enogu.posts.sqlite import Database, cut

POSTS = 100_000  # in one batch
NEEDED = MappingProxyType(
    {"post": ("id", "rating"), "tag": ("id", "name", "type"), "posttagrelation": ("post_id", "tag_id")}
)
WORDS = ("md5", "created_at", "source", "file_ext")  # read as bytes, since SQLite lets any bytes be text
COLUMNS = MappingProxyType(
    {
        "id": "id",
        "md5": "md5",
        "rating": "rating",
        "created_at": "created_at",
        "score": "score",
        "up_score": "up_score",
        "down_score": "down_score",
        "fav_count": "fav_count",
        "width": "image_width",
        "height": "image_height",
        "file_ext": "file_ext",
        "file_size": "file_size",
        "source_url": "source",
        "parent_id": "parent_id",
        "pixiv_id": "pixiv_id",
        "is_deleted": "is_deleted",
        "is_banned": "is_banned",
    }
)


def read(source: Path, asked: Asked) -> Iterator[Batch]:
    """Yield the posts of a database in order of id, with their tags."""
    try:
        with closing(Database(source)) as database:
            query = _posts_query(database, source)
            ids = database.frame("SELECT id FROM post")["id"].cast(pl.Int64).sort()
            firsts, tags = ids.gather_every(POSTS).to_numpy(), Tags(database)
            pairs = Pairs(asked.scratch / "pairs", firsts, largest=max(tags.largest, ids[-1] if len(ids) else 0))
            yield from (Batch(pl.DataFrame({"id": []})) for _ in pairs.fill(database))  # so that one can interrupt
            for number, first in enumerate(firsts):
                if asked.after is not None and first <= asked.after:
                    continue
                last = firsts[number + 1] - 1 if number + 1 < len(firsts) else ids[-1]
                within = f"BETWEEN {first} AND {last}"
                posts = database.frame(f"{query} WHERE id {within} ORDER BY id", rows=2 * POSTS)
                posts = _with_paths(posts, database, within)
                yield Batch(_with_tags(posts, tags, pairs.of(number)), mark=int(first), tidy=True)
    except DriverError as error:
        why = cut(source) or str(error).splitlines()[0]
        remedy = f"copy it again, or save what is whole by: sqlite3 {source} .recover | sqlite3 NEW.db"
        raise Refused(f"posts.source: {source} cannot be read as SQLite ({why}); {remedy}") from error


class Tags:
    """The table of tags, found by their ids."""

    def __init__(self, database: Database) -> None:
        """Read it whole: a tag's number, name and category."""
        frame = database.frame("SELECT id, CAST(name AS BLOB) AS name, type FROM tag ORDER BY id", rows=10_000_000)
        known = {number: CATEGORIES.index(kind) for number, kind in numbers("danbooru2023-sqlite").items()}
        kinds = frame["type"].cast(pl.Int64, strict=False).replace_strict(known, default=0, return_dtype=pl.Int8)
        self._places = Places(frame["id"].to_numpy())
        self.largest = int(frame["id"].max() or 0)  # type: ignore[arg-type]
        self._kinds = kinds.to_numpy()
        self._names = composed(words(frame["name"]).fill_null("")).str.replace_all(r"\s", "_")

    def lists(self, rows: np.ndarray, tags: np.ndarray, *, height: int) -> dict[str, pl.Series]:
        """Return a column of lists for each category; a tag that the table lacks is left out."""
        places, known = self._places.of(tags)
        if not known.all():
            rows, places = rows[known], places[known]
        return lists(rows, self._kinds[places], self._names.gather(places), height=height)


def words(column: pl.Series) -> pl.Series:
    """Return bytes as text; what is no UTF-8 is null."""
    try:
        return column.cast(pl.String)
    except pl.exceptions.ComputeError:
        return pl.Series(column.name, [_decoded(value) for value in column], pl.String)


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _posts_query(database: Database, source: Path) -> str:
    if missing := [name for name in NEEDED if name not in database.tables]:
        raise Refused(f"{source} has no table {', '.join(missing)}: it is not in the form of danbooru2023")
    for table, needed in NEEDED.items():
        held = database.columns(table)
        if missing := [name for name in needed if name not in held]:
            there = ", ".join(sorted(held))
            raise Refused(f"{source}: its table {table} has no column {', '.join(missing)}; it has {there}")
    held = database.columns("post")
    columns = [
        f"CAST({theirs} AS BLOB) AS {ours}" if theirs in WORDS else f"{theirs} AS {ours}"
        for ours, theirs in COLUMNS.items()
        if theirs in held
    ]
    return f"SELECT {', '.join(columns)} FROM post"


def _with_paths(posts: pl.DataFrame, database: Database, within: str) -> pl.DataFrame:
    """Add the paths that HakuBooru noted of files on this machine."""
    if "localpost" not in database.tables:
        return posts
    query = f"SELECT post_id AS id, CAST(filepath AS BLOB) AS image FROM localpost WHERE post_id {within}"
    paths = database.frame(query, rows=10 * POSTS).unique("id", keep="first", maintain_order=True)
    return posts.join(paths, on="id", how="left", maintain_order="left")


def _with_tags(posts: pl.DataFrame, tags: Tags, pairs: np.ndarray) -> pl.DataFrame:
    posts = posts.with_columns(words(column) for column in posts.get_columns() if column.dtype == pl.Binary)
    rows, known = Places(posts["id"].to_numpy()).of(pairs[:, 0])
    return posts.with_columns(**tags.lists(rows[known], pairs[known, 1], height=len(posts)))
