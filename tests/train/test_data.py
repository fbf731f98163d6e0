"""What training reads of latents: the middle of records with a margin, or a crop drawn anew in each epoch."""

from pathlib import Path

import numpy as np
import pytest

from enogu.core.records.journal import Entry
from enogu.core.records.shards import Shards, ShardWriter
from enogu.train.data import LatentSet

MARGIN = 32  # pixels: five places along each side


@pytest.fixture
def wide(tmp_path: Path) -> LatentSet:
    """Return latents whose every value tells its own row and column."""
    row, column = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
    record = np.broadcast_to(row * 10 + column, (8, 8, 8)).astype(np.float16)
    facts = {"width": 32, "height": 32, "original_width": 64, "original_height": 64, "crop_left": 16, "crop_top": 16}
    entries = [Entry(post=post, flipped=False, key=f"{post}", margin=MARGIN, **facts) for post in range(9)]
    writer = ShardWriter(tmp_path)
    writer.append(entries, [record] * 9)
    writer.finish(writer.stored())
    return LatentSet(Shards(tmp_path), held_out=1, seed=0)


def test_every_epoch_crops_anew_and_the_same_epoch_alike(wide: LatentSet) -> None:
    rows = np.arange(8)
    corners = set()
    for epoch in range(12):
        moments, _ = wide.read(wide.train, rows, crop=(7, epoch))
        assert moments.shape == (8, 8, 4, 4)
        assert moments.equal(wide.read(wide.train, rows, crop=(7, epoch))[0])
        assert moments[:2].equal(wide.read(wide.train, rows[:2], crop=(7, epoch))[0])  # whatever else is in the batch
        corners |= {tuple(divmod(int(corner), 10)) for corner in moments[:, 0, 0, 0]}
    assert len(corners) > 20  # of 25
    assert {place for corner in corners for place in corner} == set(range(5))


def test_validation_sees_the_middle(wide: LatentSet) -> None:
    moments, _ = wide.read(wide.held_out, np.array([0]))
    assert moments[0, 0, 0, 0] == 22
