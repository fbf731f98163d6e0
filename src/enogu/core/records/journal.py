"""What has been written to shards but is in no index yet: one journal per writer, one line per commit.

`journal-WRITER.jsonl` holds lines of {column: [value per record]}. Bytes of records are written before their line,
so a whole line means whole records, unless a power cut lost pages that were not on disk yet.
"""

import io
import json
import os
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from xxhash import xxh3_64_intdigest

from enogu.core.records.files import atomic_path

SHARDS = "shard-*.bin"
TAIL_BYTES = 64 << 20  # shards and journals are synced to disk at least this often
LINE_ROWS = 1 << 16  # of a line that is not a commit

SCHEMA: dict[str, pl.DataType] = {
    "post": pl.Int64(),
    "width": pl.Int32(),
    "height": pl.Int32(),
    "margin": pl.Int32(),
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
    margin: int = 0


def journal(writer: str) -> str:
    """Return the name of a writer's journal."""
    return f"journal-{writer}.jsonl"


def lines(rows: pl.DataFrame) -> bytes:
    """Return rows as lines of a journal; few rows make one line, which is read as a whole or not at all."""
    parts = [rows.select(list(SCHEMA)).slice(start, LINE_ROWS) for start in range(0, len(rows), LINE_ROWS)]
    return b"".join(json.dumps(part.to_dict(as_series=False), separators=(",", ":")).encode() + b"\n" for part in parts)


def journalled(folder: Path) -> pl.DataFrame:
    """Return the rows of every writer's whole lines whose records are whole."""
    return intact(folder, pl.concat([_read(path) for path in sorted(folder.glob(journal("*")))] or [_empty()]))


def mend(folder: Path, writer: str) -> None:
    """Take out of a writer's journal what a kill or a power cut has spoiled."""
    path = folder / journal(writer)
    if not path.exists():
        return
    rows = _read(path)
    whole = intact(folder, rows)
    if len(whole) < len(rows):
        with atomic_path(path) as part:
            part.write_bytes(lines(whole))
    else:
        os.truncate(path, len(_whole_lines(path)))


def present(folder: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """Keep the rows whose bytes exist."""
    return rows.filter(rows["offset"] + rows["nbytes"] <= _sizes(folder, rows))


def intact(folder: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """Keep the rows whose bytes exist and, where a power cut may have lost them, are the ones written."""
    rows = present(folder, rows)
    in_doubt = rows.filter(rows["offset"] >= _sizes(folder, rows) - TAIL_BYTES)
    spoiled = damaged(folder, in_doubt)
    return rows.join(spoiled, on=["shard", "offset"], how="anti", maintain_order="left") if len(spoiled) else rows


def damaged(folder: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """Return (shard, offset) of the records that end early or are not the bytes that were written."""
    columns = ("shard", "offset", "nbytes", "checksum")
    bad: list[tuple[str, int]] = []
    places = rows.select(columns).unique().sort("shard", "offset")
    for (shard,), part in places.group_by("shard", maintain_order=True):
        path = folder / str(shard)
        with path.open("rb") if path.exists() else io.BytesIO() as handle:
            for _, offset, nbytes, checksum in part.iter_rows():
                handle.seek(offset)
                data = handle.read(nbytes)
                if len(data) < nbytes or xxh3_64_intdigest(data) != checksum:
                    bad.append((str(shard), offset))
    return pl.DataFrame(bad, {"shard": pl.String, "offset": pl.Int64}, orient="row")


def _whole_lines(path: Path) -> bytes:
    data = path.read_bytes()
    return data[: data.rfind(b"\n") + 1]


def _read(path: Path) -> pl.DataFrame:
    found = _whole_lines(path)
    if not found:
        return _empty()
    columns = {name: pl.List(kind) for name, kind in SCHEMA.items()}
    return pl.read_ndjson(io.BytesIO(found), schema=columns).explode(list(SCHEMA))


def _empty() -> pl.DataFrame:
    return pl.DataFrame(schema=SCHEMA)


def _sizes(folder: Path, rows: pl.DataFrame) -> pl.Series:
    sizes = {path.name: path.stat().st_size for path in folder.glob(SHARDS)}
    return rows["shard"].replace_strict(sizes, default=0, return_dtype=pl.Int64)
