"""Packed rows against a dictionary, in whatever order they come."""

import numpy as np
import pytest

from enogu.captions.ragged import Ragged, RaggedWriter
from enogu.core.records.errors import Refused


def test_rows_come_back_by_key_in_any_order_of_writing(tmp_path):
    rng = np.random.default_rng(0)
    keys = rng.permutation(np.unique(rng.integers(-(2**40), 2**40, 500)))
    rows = {int(key): rng.integers(0, 2**32, rng.integers(0, 40), dtype=np.uint32) for key in keys}
    writer = RaggedWriter(tmp_path / "r", np.uint32)
    for part in np.array_split(keys, 7):
        values = np.concatenate([rows[int(key)] for key in part])
        writer.append(part, np.array([len(rows[int(key)]) for key in part]), values)
    writer.append(keys[:1], np.array([1]), np.array([7]))  # a second row of a key does not count
    writer.close()
    found = Ragged(tmp_path / "r")
    assert found.keys.tolist() == sorted(rows)
    for key, row in rows.items():
        assert found.row(key).tolist() == row.tolist()
    for missing in (2**41, -(2**41), sorted(rows)[10] + 1):
        assert found.row(missing) is None
        assert not found.has([missing]).any()
    assert found.has(list(rows)).all()
    assert np.load(tmp_path / "r" / "values.npy").dtype == np.uint32  # plain NumPy reads it too


def test_nothing_is_a_row_too_and_unfinished_files_are_refused(tmp_path):
    writer = RaggedWriter(tmp_path / "r", np.uint8)
    with pytest.raises(Refused, match=r"index\.npy"):
        Ragged(tmp_path / "r")
    writer.close()
    empty = Ragged(tmp_path / "r")
    assert (len(empty), empty.row(3)) == (0, None)
    assert empty.has([1, 2]).tolist() == [False, False]
