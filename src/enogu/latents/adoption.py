"""Records that a neighbouring folder already has: of the run before posts were added, or of another selection."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from enogu.core.records.journal import SCHEMA, SHARDS, damaged, present
from enogu.core.records.shards import INDEX, ShardWriter, records


def adopt(writer: ShardWriter, wanted: pl.DataFrame) -> int:
    """Take over every wanted record that a finished folder beside this one holds; return how many."""
    known = writer.stored()["key"]
    keys = pl.concat([wanted["key"], wanted["mirror_key"].drop_nulls()]).unique()
    missing = keys.filter(~keys.is_in(known.implode()))
    taken = 0
    for neighbour in _neighbours(writer.folder):
        if missing.is_empty():
            break
        rows = _sound(neighbour, writer.folder, present(neighbour, records(neighbour)))
        found = rows.filter(pl.col("key").is_in(missing.implode()))
        if found.is_empty():
            continue
        try:  # with all that is known of those shards: who opts out must be found in every folder that has a link
            writer.adopt(neighbour, rows.filter(pl.col("shard").is_in(found["shard"].implode())))
        except OSError:  # a file system without hard links, or two of them: encode again
            return taken
        missing = missing.filter(~missing.is_in(found["key"].implode()))
        taken += found["key"].n_unique()
    return taken


def _neighbours(folder: Path) -> Iterator[Path]:
    for index in sorted(folder.parent.glob(f"*/{INDEX}")):
        if index.parent != folder and set(SCHEMA) <= set(pl.read_parquet_schema(index)):
            yield index.parent


def _sound(neighbour: Path, folder: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """Leave out what is damaged in files that are already here: a repair may have taken those records out."""
    if rows.is_empty():
        return rows
    here = {path.stat().st_ino for path in folder.glob(SHARDS)}
    shared = [shard for shard in rows["shard"].unique() if (neighbour / shard).stat().st_ino in here]
    spoiled = damaged(neighbour, rows.filter(pl.col("shard").is_in(shared)))
    return rows.join(spoiled, on=["shard", "offset"], how="anti", maintain_order="left")
