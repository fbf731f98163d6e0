"""Records that a neighbouring folder already has: of the run before posts were added, or of another selection."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from enogu.core.records.journal import SCHEMA, damaged, present
from enogu.core.records.shards import ShardWriter

INDEX = "index.parquet"


def adopt(writer: ShardWriter, wanted: pl.DataFrame) -> int:
    """Take over every wanted record that a finished folder beside this one holds; return how many."""
    known = writer.stored()["key"]
    keys = pl.concat([wanted["key"], wanted["mirror_key"].drop_nulls()]).unique()
    missing = keys.filter(~keys.is_in(known.implode()))
    taken = 0
    for neighbour in _neighbours(writer.folder):
        if missing.is_empty():
            break
        rows = _sound(neighbour, writer.folder, _records(neighbour, missing))
        if rows.is_empty():
            continue
        try:
            writer.adopt(neighbour, rows)
        except OSError:  # a file system without hard links, or two of them: encode again
            return taken
        missing = missing.filter(~missing.is_in(rows["key"].implode()))
        taken += len(rows)
    return taken


def _neighbours(folder: Path) -> Iterator[Path]:
    for index in sorted(folder.parent.glob(f"*/{INDEX}")):
        if index.parent != folder and set(SCHEMA) <= set(pl.read_parquet_schema(index)):
            yield index.parent


def _records(folder: Path, keys: pl.Series) -> pl.DataFrame:
    index = pl.scan_parquet(folder / INDEX).filter(pl.col("key").is_in(keys.implode())).collect()
    return present(folder, index.unique("key", keep="first", maintain_order=True))


def _sound(neighbour: Path, folder: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """Leave out what is damaged in files that are already here: a repair may have taken those records out."""
    here = {path.stat().st_ino for path in folder.glob("shard-*.bin")}
    shared = [shard for shard in rows["shard"].unique() if (neighbour / shard).stat().st_ino in here]
    spoiled = damaged(neighbour, rows.filter(pl.col("shard").is_in(shared)))
    return rows.join(spoiled, on=["shard", "offset"], how="anti", maintain_order="left")
