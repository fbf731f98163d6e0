"""Latents on disk: fixed-size records in large append-only files, and an index.

    shard-0512x0768-00003.bin  records of one bucket (width x height in pixels), one after another, nothing else
    index.parquet              one row per (post, flipped), sorted by them: SCHEMA below; written last
    journal.jsonl              only while a run is unfinished: one line per commit, {column: [value per record]}

A record is little-endian float16 in C order, (2C, height / 8, width / 8): the mean of the VAE's posterior and
then its log variance, not scaled. It lies at `offset` of `shard`, a multiple of `nbytes`; `checksum` is xxh3_64
of its bytes. `key` names the content: picture, VAE, resize recipe, bucket, flip; rows of equal key share a record.

A commit appends its records and then its one line. After kill -9 a line without its end is dropped, and so
are records that reach behind the end of a shard or, within the last TAIL_BYTES of it (what a power cut may have
lost), fail their checksum; whatever lies behind the last whole record is cut off. Then the writer goes on.
"""

import io
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from xxhash import xxh3_64_intdigest

from enogu.core.records.errors import Refused
from enogu.core.records.files import atomic_path
from enogu.core.records.progress import Progress, silent

FACTOR = 8  # pixels per latent, along each side
SHARD_BYTES = 1 << 30
TAIL_BYTES = 64 << 20  # synced to disk at least this often
SAMPLE = np.dtype("<f2")

SCHEMA: dict[str, pl.DataType] = {
    "post": pl.Int64(),
    "width": pl.Int32(),
    "height": pl.Int32(),
    "shard": pl.String(),
    "offset": pl.Int64(),
    "nbytes": pl.Int64(),
    "flipped": pl.Boolean(),
    "key": pl.String(),
    "checksum": pl.UInt64(),
    "original_width": pl.Int32(),
    "original_height": pl.Int32(),
    "crop_left": pl.Int32(),
    "crop_top": pl.Int32(),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What a record is of; where it lies is the writer's matter."""

    post: int
    width: int
    height: int
    flipped: bool
    key: str
    original_width: int
    original_height: int
    crop_left: int
    crop_top: int


class ShardWriter:
    """Appends records to a folder, whatever an interrupted run left there."""

    def __init__(self, folder: Path, *, shard_bytes: int = SHARD_BYTES) -> None:
        """Open a folder, drop what is not whole, and know the rest."""
        self.folder = folder
        self._shard_bytes = shard_bytes
        self._unsynced: dict[Path, int] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self.finished = _present(folder, _read_index(folder))  # what earlier runs left when they ended
        _write_journal(folder, _intact(folder, _read_journal(folder)))
        stored = self.stored()
        _cut_tails(folder, stored)
        self._open: dict[tuple[int, int], tuple[str, int]] = {  # shape -> its last shard and its length
            (width, height): (shard, end)
            for width, height, shard, end in stored.group_by("width", "height", "shard")
            .agg((pl.col("offset") + pl.col("nbytes")).max())
            .sort("shard")
            .iter_rows()
        }

    def stored(self) -> pl.DataFrame:
        """Return the rows of all records: what earlier runs finished, and what this one has committed."""
        rows = pl.concat([self.finished, _read_journal(self.folder)])
        return rows.unique(["post", "flipped", "key"], keep="last", maintain_order=True)

    def append(self, entries: Sequence[Entry], records: Iterable[np.ndarray]) -> None:
        """Commit records, all or none: after a kill at any moment they are either all there or all gone."""
        if not entries:
            return
        rows, pieces = [], dict[str, list[bytes]]()
        for entry, record in zip(entries, records, strict=True):
            data = np.ascontiguousarray(record, SAMPLE).tobytes()
            shard, offset = self._place(entry, len(data))
            pieces.setdefault(shard, []).append(data)
            where = {"shard": shard, "offset": offset, "nbytes": len(data), "checksum": xxh3_64_intdigest(data)}
            rows.append({field.name: getattr(entry, field.name) for field in fields(Entry)} | where)
        for shard, data_of_shard in pieces.items():
            self._write(self.folder / shard, b"".join(data_of_shard))
        line = _journal_line({name: [row[name] for row in rows] for name in SCHEMA})
        self._write(self.folder / "journal.jsonl", line)

    def finish(self, index: pl.DataFrame) -> None:
        """Make the index of these rows and end the run: the journal goes."""
        self._sync()
        index = index.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()).sort("post", "flipped")
        with atomic_path(self.folder / "index.parquet") as part:
            index.write_parquet(part)
        (self.folder / "journal.jsonl").unlink(missing_ok=True)

    def _place(self, entry: Entry, nbytes: int) -> tuple[str, int]:
        shape = (entry.width, entry.height)
        shard, end = self._open.get(shape, (_shard_name(*shape, 0), 0))
        if end and end + nbytes > self._shard_bytes:
            shard, end = _shard_name(*shape, int(shard.rsplit("-", 1)[1].removesuffix(".bin")) + 1), 0
        self._open[shape] = (shard, end + nbytes)
        return shard, end

    def _write(self, path: Path, data: bytes) -> None:
        with path.open("ab", buffering=0) as handle:
            rest = memoryview(data)
            while rest:
                rest = rest[handle.write(rest) :]
        self._unsynced[path] = self._unsynced.get(path, 0) + len(data)
        if self._unsynced[path] >= TAIL_BYTES:
            self._sync()

    def _sync(self) -> None:
        for path in sorted(self._unsynced, key=lambda path: path.suffix):  # .bin before .jsonl
            with path.open("rb") as handle:
                os.fsync(handle.fileno())
        self._unsynced.clear()


class Shards:
    """Reads the records of a finished folder at random, through memory maps."""

    def __init__(self, folder: Path) -> None:
        """Open a folder by its index; no record is touched yet."""
        if not (folder / "index.parquet").exists():
            raise Refused(f"{folder} has no index.parquet: it holds no finished latents; run the stage to its end")
        self.folder = folder
        self.index = _read_index(folder)
        self._shards = self.index["shard"].unique(maintain_order=True).to_list()
        codes = self.index["shard"].replace_strict(self._shards, range(len(self._shards)), return_dtype=pl.Int32)
        self._codes = codes.to_numpy()
        self._numbers = (self.index["offset"] // self.index["nbytes"]).to_numpy()
        self._maps: dict[int, np.ndarray] = {}

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return float16 (N, 2C, height / 8, width / 8) for rows of the index that lie in one bucket."""
        places = [(self._map(code), n) for code, n in zip(self._codes[rows].tolist(), self._numbers[rows], strict=True)]
        shapes = {records.shape[1:] for records, _ in places}
        if len(shapes) != 1:
            raise ValueError(f"rows of one bucket are read together, these are of {len(shapes)}")
        out = np.empty((len(rows), *shapes.pop()), SAMPLE)
        for place, (records, number) in enumerate(places):
            out[place] = records[number]
        return out

    def verify(self, progress: Progress = silent) -> list[str]:
        """Read every record and return a sentence for each that is missing or changed."""
        problems = []
        rows = self.index.select("post", "shard", "offset", "nbytes", "checksum").rows()
        for done, (post, shard, offset, nbytes, checksum) in enumerate(rows, start=1):
            data = _bytes_at(self.folder / shard, offset, nbytes)
            if len(data) < nbytes:
                problems.append(f"post {post}: {shard} ends before its record at byte {offset}")
            elif xxh3_64_intdigest(data) != checksum:
                problems.append(f"post {post}: the record at byte {offset} of {shard} has changed")
            progress(done, len(rows), "records checked")
        return problems

    def _map(self, code: int) -> np.ndarray:
        if code not in self._maps:
            row = self.index.row(int(np.argmax(self._codes == code)), named=True)
            width, height, nbytes = row["width"] // FACTOR, row["height"] // FACTOR, row["nbytes"]
            channels = nbytes // (SAMPLE.itemsize * width * height)
            flat = np.asarray(np.memmap(self.folder / row["shard"], SAMPLE, mode="r"))
            whole = len(flat) * SAMPLE.itemsize // nbytes
            shape = (whole, channels, height, width)
            self._maps[code] = flat[: whole * nbytes // SAMPLE.itemsize].reshape(shape)
        return self._maps[code]


def _shard_name(width: int, height: int, number: int) -> str:
    return f"shard-{width:04d}x{height:04d}-{number:05d}.bin"


def _read_index(folder: Path) -> pl.DataFrame:
    path = folder / "index.parquet"
    return pl.read_parquet(path) if path.exists() else pl.DataFrame(schema=SCHEMA)


def _read_journal(folder: Path) -> pl.DataFrame:
    path = folder / "journal.jsonl"
    lines = path.read_bytes() if path.exists() else b""
    lines = lines[: lines.rfind(b"\n") + 1]
    columns = {name: pl.List(kind) for name, kind in SCHEMA.items()}
    if not lines:
        return pl.DataFrame(schema=SCHEMA)
    return pl.read_ndjson(io.BytesIO(lines), schema=columns).explode(list(SCHEMA))


def _write_journal(folder: Path, rows: pl.DataFrame) -> None:
    with atomic_path(folder / "journal.jsonl") as part:
        part.write_bytes(_journal_line(rows.to_dict(as_series=False)) if len(rows) else b"")


def _journal_line(columns: dict[str, list[Any]]) -> bytes:
    return json.dumps(columns, separators=(",", ":")).encode() + b"\n"


def _sizes(folder: Path, rows: pl.DataFrame) -> pl.Series:
    sizes = {path.name: path.stat().st_size for path in folder.glob("shard-*.bin")}
    return rows["shard"].replace_strict(sizes, default=0, return_dtype=pl.Int64)


def _present(folder: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """Keep the rows whose bytes exist."""
    return rows.filter(rows["offset"] + rows["nbytes"] <= _sizes(folder, rows))


def _intact(folder: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """Keep the rows whose bytes exist and, where a power cut may have lost them, are the ones written."""
    rows = _present(folder, rows)
    in_doubt = rows["offset"] >= _sizes(folder, rows) - TAIL_BYTES
    places = rows.select("shard", "offset", "nbytes", "checksum").rows()
    whole = [
        not doubtful or xxh3_64_intdigest(_bytes_at(folder / shard, offset, nbytes)) == checksum
        for doubtful, (shard, offset, nbytes, checksum) in zip(in_doubt, places, strict=True)
    ]
    return rows.filter(pl.Series(whole, dtype=pl.Boolean))


def _cut_tails(folder: Path, rows: pl.DataFrame) -> None:
    ends = dict(rows.group_by("shard").agg((pl.col("offset") + pl.col("nbytes")).max()).iter_rows())
    for path in folder.glob(".*.part"):  # what a killed atomic write left
        path.unlink()
    for path in folder.glob("shard-*.bin"):
        if path.name not in ends:
            path.unlink()
        elif path.stat().st_size > ends[path.name]:
            os.truncate(path, ends[path.name])


def _bytes_at(path: Path, offset: int, nbytes: int) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as handle:
        handle.seek(offset)
        return handle.read(nbytes)
