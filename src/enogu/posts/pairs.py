"""Pairs of post and tag, set aside on disk by the batch of posts that they belong to: any order in, no index needed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from enogu.core.records.files import write_bytes
from enogu.posts.sqlite import Database

SPARSE = 16  # at most so many entries of a table for each id
ROWS = 2_000_000  # read at a time: 32 MB


class Pairs:
    """A folder with one file of pairs for each batch of posts."""

    def __init__(self, folder: Path, firsts: np.ndarray, *, largest: int) -> None:
        """Take the first id of every batch, in order, and the largest id of a post or a tag."""
        self._folder, self._firsts, self._largest = folder, firsts, largest
        self._dtype: np.dtype[Any] = np.dtype(np.int32 if largest < 2**31 else np.int64)

    def fill(self, database: Database) -> Iterator[int]:
        """Read every pair once, and yield how many were read now and then; what a killed import had filled is kept."""
        if (self._folder / "full").exists():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        for old in self._folder.iterdir():
            old.unlink()
        for frame in database.frames(_ranges(database), rows=ROWS):
            self._add(frame.select(pl.all().cast(pl.Int64, strict=False)))
            yield len(frame)
        write_bytes(self._folder / "full", b"")

    def of(self, number: int) -> np.ndarray:
        """Return the pairs of a batch, ordered by post and within a post as the database had them."""
        path = self._folder / str(number)
        pairs = np.fromfile(path, self._dtype).reshape(-1, 2) if path.exists() else np.empty((0, 2), self._dtype)
        return _by_post(pairs)

    def _add(self, frame: pl.DataFrame) -> None:
        frame = frame.filter(pl.all_horizontal(pl.all().is_between(0, self._largest)))
        pairs = np.empty((len(frame), 2), self._dtype)
        pairs[:, 0], pairs[:, 1] = frame["post_id"].to_numpy(), frame["tag_id"].to_numpy()
        pairs = _by_post(pairs)
        _, *each = np.split(
            pairs, np.searchsorted(pairs[:, 0], self._firsts)
        )  # what is before the first post is no one's
        for number, some in enumerate(each):
            if len(some):
                with (self._folder / str(number)).open("ab") as out:
                    some.tofile(out)


def _ranges(database: Database) -> Iterator[str]:
    """Yield queries that find every pair, however far apart their row numbers are."""
    table, start = "FROM posttagrelation", None
    while True:
        behind = "" if start is None else f"WHERE rowid >= {start + ROWS}"
        start = database.frame(f"SELECT min(rowid) AS first {table} {behind}")["first"][0]
        if start is None:
            return
        yield f"SELECT post_id, tag_id {table} WHERE rowid >= {start} AND rowid < {start + ROWS}"


def _by_post(pairs: np.ndarray) -> np.ndarray:
    """Order pairs by post; those of one post stay as they came."""
    if (pairs[1:, 0] >= pairs[:-1, 0]).all():
        return pairs
    return pairs[np.argsort(pairs[:, 0], kind="stable")]


class Places:
    """Where each of some ascending ids stands."""

    def __init__(self, ids: np.ndarray) -> None:
        """Make a table from id to place, or keep the ids where that would be mostly empty."""
        self._ids, self._first = ids, int(ids[0]) if len(ids) else 0
        span = int(ids[-1]) - self._first + 1 if len(ids) else 0
        self._table: np.ndarray | None = None
        if span <= max(SPARSE * len(ids), 1 << 20):
            self._table = np.full(span + 1, -1, np.int32)  # the last entry is for whatever is not there
            self._table[ids - self._first] = np.arange(len(ids), dtype=np.int32)

    def of(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of some ids, and which of them are known."""
        if self._table is not None:
            last = len(self._table) - 1
            places = self._table[np.clip(ids.astype(np.int64) - self._first, -1, last)]
            return places.astype(np.uint32), places >= 0
        places = np.searchsorted(self._ids, ids)
        return places.astype(np.uint32), self._ids[np.minimum(places, len(self._ids) - 1)] == ids
