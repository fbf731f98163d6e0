"""What `done.json` notices of latents, whose shards are too large to be hashed."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from enogu.core.records.journal import Entry
from enogu.core.records.shards import Shards, ShardWriter
from enogu.recipe.done import Done, outputs, read_done, write_done

WORDS = {"id": "latents.l", "kind": "latents", "name": "l", "hash": "h", "started": "2026-01-01T00:00:00+00:00"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a finished folder of three records in two shards."""
    writer = ShardWriter(tmp_path)
    for post, side in enumerate((64, 64, 128)):
        size = {"width": side, "height": side, "original_width": side, "original_height": side}
        entry = Entry(post=post, flipped=False, key=str(post), crop_left=0, crop_top=0, **size)
        writer.append([entry], [np.full((8, side // 8, side // 8), post, np.float16)])
    writer.finish(writer.stored())
    write_done(tmp_path, Done(summary={}, seconds=1.0, inputs={}, settings={}, outputs=outputs(tmp_path), **WORDS))
    return tmp_path


def test_shards_are_known_by_size_and_the_index_by_hash(folder: Path) -> None:
    done = read_done(folder, "h")
    assert done is not None
    assert done.outputs["shard-0064x0064-0-00000.bin"] == {"bytes": 2 * 8 * 8 * 8 * 2}
    assert len(done.outputs["index.parquet"]["sha256"]) == 64


@pytest.mark.parametrize("harm", ["gone", "short"])
def test_a_missing_or_short_shard_is_noticed(folder: Path, harm: str) -> None:
    shard = folder / "shard-0128x0128-0-00000.bin"
    shard.unlink() if harm == "gone" else shard.write_bytes(shard.read_bytes()[:-1])
    assert read_done(folder, "h") is None


def test_a_changed_index_of_the_same_size_is_noticed(folder: Path) -> None:
    path = folder / "index.parquet"
    before = path.read_bytes()
    path.write_bytes(before.replace(b"shard-0064x0064", b"shard-0128x0128"))
    assert path.stat().st_size == len(before)
    assert path.read_bytes() != before
    assert read_done(folder, "h") is None


def test_records_taken_out_make_the_stage_undone(folder: Path) -> None:
    shards = Shards(folder)
    shards.forget(pl.DataFrame({"shard": ["shard-0128x0128-0-00000.bin"], "offset": [0]}))
    assert read_done(folder, "h") is None
