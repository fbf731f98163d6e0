"""The index beside posts.parquet: which rows have a tag, and the columns that queries ask for, memory-mapped.

    posts.index/rows.u32      row numbers, tag after tag, rising within a tag, each once
    posts.index/tags.parquet  tag, kind (the category it is in most often), start and count in rows.u32; sorted by tag
    posts.index/NAME.npy      a column; the lowest value of its type (NaN) stands for a missing one
    posts.index/index.json    what it was built from, words of coded columns

It is an inverted index (Zobel and Moffat, Inverted files for text search engines, 2006), uncompressed: a query touches
the rows of its own tags and nothing else.
"""

import os
import re
from collections.abc import Iterable
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from enogu.core.records.files import read_json

FORM = 1  # of the files; another one is built anew
FOOTER = 1 << 16  # bytes at the end of a Parquet file, where its layout and statistics are
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.uint32]


class TagIndex:
    """One posts.parquet, ready for queries; columns are mapped when first asked for."""

    def __init__(self, folder: Path, posts: Path) -> None:
        """Open an index that is whole."""
        self.folder, self.path = folder, posts
        self._about = read_json(folder / "index.json")
        self.identity: dict[str, Any] = self._about["identity"]
        self.posts: int = self._about["posts"]
        self.words: dict[str, list[str]] = self._about["words"]
        self.empty: frozenset[str] = frozenset(self._about["empty"])  # columns without a value

    @cached_property
    def tags(self) -> pl.DataFrame:
        """Return every tag with its kind and how many posts have it."""
        return pl.read_parquet(self.folder / "tags.parquet")

    @cached_property
    def _rows(self) -> Rows:
        size = (self.folder / "rows.u32").stat().st_size
        return np.memmap(self.folder / "rows.u32", np.uint32, "r").view(np.ndarray) if size else np.empty(0, np.uint32)

    def rows(self, found: pl.DataFrame) -> Iterable[Rows]:
        """Yield the rows of some of the tags, one array each."""
        return (self._rows[start : start + count] for start, count in found.select("start", "count").iter_rows())

    def tagged(self, names: Iterable[str]) -> Bools:
        """Return which posts have at least one of these tags."""
        mask = np.zeros(self.posts, dtype=bool)
        found = self.tags.filter(pl.col("tag").is_in(list(names)))
        starts, stops = found["start"].to_numpy(), (found["start"] + found["count"]).to_numpy()
        ahead = np.flatnonzero(np.append(starts[1:] != stops[:-1], True)[: len(starts)])  # 1* lies in one piece
        for start, stop in zip(starts[np.append(0, ahead[:-1] + 1)], stops[ahead], strict=True) if len(starts) else ():
            mask[self._rows[start:stop]] = True
        return mask

    def counts(self, names: Iterable[str]) -> dict[str, int]:
        """Return how many posts have each of these tags, of those that any has."""
        found = self.tags.filter(pl.col("tag").is_in(list(names))).select("tag", "count")
        return dict(found.rows())

    def like(self, pattern: str) -> list[str]:
        """Return the tags of a shape; the one wildcard is *."""
        return self.tags.filter(pl.col("tag").str.contains(regex(pattern)))["tag"].to_list()

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a stored column; `known` tells where it has a value."""
        return np.asarray(np.load(self.folder / f"{name}.npy", mmap_mode="r"))

    def coded(self, name: str, words: Iterable[str]) -> Bools:
        """Return which posts have one of some words in a column of words."""
        wanted = set(words)
        codes = [code for code, word in enumerate(self.words[name]) if word in wanted]
        return np.isin(self.column(name), codes)

    def known(self, name: str) -> Bools:
        """Return which posts have a value."""
        if name in self.empty:
            return np.zeros(self.posts, dtype=bool)
        values = self.column(name)
        return ~np.isnan(values) if values.dtype.kind == "f" else np.asarray(values != missing(values.dtype))

    def frame(
        self, rows: npt.NDArray[np.int64], columns: list[str] | None = None, chunk: int = 1 << 18
    ) -> pl.DataFrame:
        """Read some posts, in the order of their rows; what lies between is read chunk by chunk or not at all."""
        scan = pl.scan_parquet(self.path)
        scan = scan.select(columns) if columns else scan
        frames = [scan.head(0).collect()]
        for start in range(0, self.posts, chunk):
            here = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + chunk)]
            if len(here):
                frames.append(scan.slice(start, chunk).collect()[here - start])
        return pl.concat(frames)


def missing(dtype: np.dtype[Any]) -> int:
    """Return what stands for a missing whole number."""
    return int(np.iinfo(dtype).min)


def regex(pattern: str) -> str:
    """Return a wildcard pattern as a regular expression of the whole text."""
    return "^" + ".*".join(re.escape(part) for part in pattern.split("*")) + "$"


def identity(posts: Path) -> dict[str, Any]:
    """Return what tells this posts.parquet from another: its size and the hash of its end."""
    with posts.open("rb") as handle:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(0, size - FOOTER))
        return {"form": FORM, "bytes": size, "sha256": sha256(handle.read()).hexdigest()}
