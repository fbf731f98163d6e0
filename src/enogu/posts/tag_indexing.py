"""Build the index of a posts.parquet: one pass over the posts, one over their rows by tag."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from enogu.core.records.files import write_json
from enogu.core.records.posts import CATEGORIES
from enogu.core.records.progress import Progress, silent
from enogu.posts.normal import first_of_id
from enogu.posts.query_columns import columns
from enogu.posts.tag_index import Bools, TagIndex, identity, missing

CHUNK_BITS = 18  # posts of a chunk: as many as of a row group of Polars
CHUNK = 1 << CHUNK_BITS
NO_TAG = np.iinfo(np.uint32).max
Ints = npt.NDArray[np.int64]


def indexed(posts: Path, folder: Path | None = None, progress: Progress = silent) -> TagIndex:
    """Open the index of a posts.parquet, beside it if nothing else is said; build it where it is missing or old."""
    folder = folder or posts.with_name("posts.index")
    wanted = identity(posts)
    try:
        index = TagIndex(folder, posts)
        if index.identity == wanted:
            return index
    except (OSError, ValueError, KeyError):
        pass  # missing, or of an older form
    part = folder.with_name(folder.name + ".new")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    _build(posts, part, wanted, progress=progress)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(part, folder)
    return TagIndex(folder, posts)


def _build(posts: Path, folder: Path, identity: dict[str, Any], *, progress: Progress) -> None:
    scan = pl.scan_parquet(posts)
    total = int(scan.select(pl.len()).collect().item())
    stored = _Columns(scan, folder, total)
    spill = _Spill(folder / "spill")
    for start in range(0, total, CHUNK):
        frame = scan.slice(start, CHUNK).select(*stored.read, *_LISTS).collect()
        stored.write(start, frame)
        spill.add(frame)
        progress(start + len(frame), total, "posts indexed")
    stored.close()
    spill.merge(folder)
    about = {"identity": identity, "posts": total, "words": stored.words, "empty": sorted(stored.empty)}
    write_json(folder / "index.json", about)


_LISTS = tuple(f"tags_{kind}" for kind in CATEGORIES)


class _Columns:
    """The columns that queries ask for, each in the narrowest type that holds it."""

    def __init__(self, scan: pl.LazyFrame, folder: Path, total: int) -> None:
        """Look at the extent of every column, then make room for it."""
        schema = scan.collect_schema()
        wanted = {column.of: column.kind for column in columns().values() if column.of in schema}
        self._plain = [name for name, kind in wanted.items() if kind not in ("word", "text")]
        coded = [name for name, kind in wanted.items() if kind == "word"]
        self.read = [name for name in (*self._plain, *coded, "image") if name in schema]
        self.words = {name: _words(scan, name) for name in coded}
        types = {name: _narrowest(0, len(words)) for name, words in self.words.items()}
        extents = scan.select(_extent(name) for name in self._plain).collect(engine="streaming").row(0, named=True)
        for name in self._plain:
            if extents[name][0] is not None:
                low, high = extents[name]
                types[name] = np.dtype(np.float64) if schema[name].is_float() else _narrowest(low, high)
        types |= dict.fromkeys(("has_image", "fresh"), np.dtype(np.int8))
        types |= {f"num_{kind}": np.dtype(np.int16) for kind in CATEGORIES}
        self.empty = {name for name in self._plain if name not in types}
        self._open = {
            name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, (total,))
            for name, dtype in types.items()
        }
        self._first = first_of_id(scan.select("id").collect()["id"]).to_numpy()

    def write(self, start: int, frame: pl.DataFrame) -> None:
        """Write the values of a chunk."""
        stop = start + len(frame)
        for name in self._plain:
            if name not in self.empty:
                self._open[name][start:stop] = _numbers(frame[name], self._open[name].dtype)
        for name, words in self.words.items():
            codes = frame[name].replace_strict(words, range(len(words)), default=None, return_dtype=pl.Int64)
            self._open[name][start:stop] = _numbers(codes, self._open[name].dtype)
        self._open["has_image"][start:stop] = frame["image"].is_not_null().to_numpy()
        self._open["fresh"][start:stop] = self._first[start:stop]
        for kind in CATEGORIES:
            self._open[f"num_{kind}"][start:stop] = frame[f"tags_{kind}"].list.len().fill_null(0).to_numpy()

    def close(self) -> None:
        """Bring all to the disk."""
        for values in self._open.values():
            values.flush()
        self._open.clear()


class _Spill:
    """The rows of every chunk by tag, in a file of passage; how many of which tag."""

    def __init__(self, path: Path) -> None:
        """Begin with nothing."""
        self._path = path
        path.write_bytes(b"")
        self._runs: list[tuple[npt.NDArray[np.uint32], Ints]] = []  # of each chunk: its tags, how many rows of each
        self._kinds = np.zeros((len(CATEGORIES), 0), np.int64)
        self._names = pl.Categories.random(physical=pl.UInt32)
        self._alive = pl.Series([], dtype=pl.Categorical(self._names))  # names last as long as a series of theirs

    def add(self, frame: pl.DataFrame) -> None:
        """Sort the rows of a chunk by tag; a tag that a post has twice counts once."""
        keys = []
        for place, column in enumerate(_LISTS):
            lists = frame[column] if not frame[column].null_count() else frame[column].fill_null([])
            tags = lists.explode(empty_as_null=False).cast(pl.Categorical(self._names))
            codes = tags.to_physical().fill_null(NO_TAG).to_numpy()
            rows = np.repeat(np.arange(len(frame), dtype=np.uint64), lists.list.len().to_numpy())
            if tags.null_count():
                codes, rows = codes[codes != NO_TAG], rows[codes != NO_TAG]
            self._count(place, codes)
            keys.append(codes.astype(np.uint64) << np.uint64(CHUNK_BITS) | rows)
        merged = np.sort(np.concatenate(keys))
        merged = merged[_first_of_equals(merged)]
        codes = (merged >> np.uint64(CHUNK_BITS)).astype(np.uint32)
        starts = np.flatnonzero(_first_of_equals(codes))
        start = np.uint32(len(self._runs) << CHUNK_BITS)
        self._runs.append((codes[starts], np.diff(starts, append=len(codes))))
        with self._path.open("ab") as file:
            file.write(((merged & np.uint64(CHUNK - 1)).astype(np.uint32) + start).tobytes())

    def merge(self, folder: Path) -> None:
        """Write rows.u32 and tags.parquet, and remove the file of passage."""
        counts = np.zeros(self._kinds.shape[1], np.int64)
        for codes, lengths in self._runs:
            counts[codes] += lengths
        tags = pl.DataFrame({"tag": self._names.to_series().head(len(counts)), "code": np.arange(len(counts))})
        tags = tags.with_columns(count=pl.Series(counts), kind=pl.Series(CATEGORIES).gather(self._kinds.argmax(axis=0)))
        tags = tags.sort("tag").with_columns(start=pl.col("count").cum_sum() - pl.col("count"))
        ends = np.empty(len(counts), np.int64)  # where the next row of a tag goes
        ends[tags["code"].to_numpy()] = tags["start"].to_numpy()
        self._scatter(folder / "rows.u32", ends)
        tags.select("tag", "kind", "start", "count").write_parquet(folder / "tags.parquet")
        self._path.unlink()

    def _scatter(self, target: Path, ends: Ints) -> None:
        target.write_bytes(b"")
        os.truncate(target, self._path.stat().st_size)
        if not target.stat().st_size:
            return
        merged = np.memmap(target, np.uint32, "r+")
        with self._path.open("rb") as file:
            for codes, lengths in self._runs:
                total = int(lengths.sum())
                starts = np.cumsum(lengths) - lengths
                places = np.repeat(ends[codes] - starts, lengths) + np.arange(total)
                merged[places] = np.frombuffer(file.read(4 * total), np.uint32)
                ends[codes] += lengths
        merged.flush()

    def _count(self, place: int, codes: npt.NDArray[np.uint32]) -> None:
        counts = np.bincount(codes)
        if len(counts) > self._kinds.shape[1]:
            self._kinds = np.pad(self._kinds, ((0, 0), (0, len(counts) - self._kinds.shape[1])))
        self._kinds[place, : len(counts)] += counts


def _first_of_equals(values: npt.NDArray[Any]) -> Bools:
    """Tell of sorted values which are not as the one before."""
    first = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return first


def _words(scan: pl.LazyFrame, name: str) -> list[str]:
    return scan.select(pl.col(name).drop_nulls().unique().sort()).collect(engine="streaming")[name].to_list()


def _extent(name: str) -> pl.Expr:
    value = pl.col(name).to_physical()
    return pl.concat_arr(value.min().cast(pl.Float64), value.max().cast(pl.Float64)).alias(name)


def _narrowest(low: float, high: float) -> np.dtype[Any]:
    """Return the smallest signed type that holds two numbers, and one below them for what is missing."""
    types: tuple[np.dtype[Any], ...] = tuple(np.dtype(f"i{size}") for size in (1, 2, 4, 8))
    return next(dtype for dtype in types if missing(dtype) < low and high <= -1 - missing(dtype))


def _numbers(values: pl.Series, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if dtype.kind == "f":
        return values.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return values.to_physical().cast(pl.Int64).fill_null(missing(dtype)).to_numpy()
