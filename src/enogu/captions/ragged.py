"""Rows of differing length by key, on disk and mapped into memory: what ten million captions are read from.

keys.npy    (N,) int64, ascending
starts.npy  (N,) int64, where the row of a key starts in values.npy
sizes.npy   (N,) uint32, how long it is
values.npy  every row, in the order of writing
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from enogu.core.records.errors import Refused
from enogu.core.records.files import atomic_path


class RaggedWriter:
    """Appends rows; the keys may come in any order, and the first row of a key counts."""

    def __init__(self, folder: Path, dtype: Any) -> None:
        """Begin anew in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.npy").unlink(missing_ok=True)  # of an earlier run: it would point into other values
        self._folder, self._dtype = folder, np.dtype(dtype)
        self._keys: list[NDArray[np.int64]] = []
        self._sizes: list[NDArray[np.uint32]] = []
        self._values: BinaryIO = (folder / "values.npy").open("wb")
        self._length = 0
        self._header()

    def append(self, keys: NDArray[Any], sizes: NDArray[Any], values: NDArray[Any]) -> None:
        """Append the rows of some keys."""
        self._keys.append(keys.astype(np.int64))
        self._sizes.append(sizes.astype(np.uint32))
        self._values.write(values.astype(self._dtype).tobytes())
        self._length += len(values)

    def close(self) -> None:
        """Write the index; before, the rows cannot be read."""
        self._header()
        self._values.flush()
        os.fsync(self._values.fileno())
        self._values.close()
        keys = np.concatenate(self._keys) if self._keys else np.empty(0, np.int64)
        sizes = np.concatenate(self._sizes) if self._sizes else np.empty(0, np.uint32)
        starts = np.cumsum(sizes, dtype=np.int64) - sizes
        keys, first = np.unique(keys, return_index=True)
        with atomic_path(self._folder / "index.npy") as part, part.open("wb") as handle:
            np.save(handle, np.stack([keys, starts[first], sizes[first].astype(np.int64)]))

    def _header(self) -> None:
        """Write the head of values.npy; NumPy pads it, so that a greater length fits into the same bytes."""
        self._values.seek(0)
        head = {"descr": npy.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (self._length,)}
        npy.write_array_header_1_0(self._values, head)


class Ragged:
    """Reads rows by key, without loading what is not asked for."""

    def __init__(self, folder: Path) -> None:
        """Map the files."""
        if not (folder / "index.npy").exists():
            raise Refused(f"{folder} lacks index.npy: run the captions stage again")
        index, self._values = (
            np.asarray(np.load(folder / name, mmap_mode="r", allow_pickle=False))
            for name in ("index.npy", "values.npy")
        )
        self.keys: NDArray[np.int64] = index[0]
        self._starts, self._sizes = index[1], index[2]

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self.keys)

    def row(self, key: int) -> NDArray[Any] | None:
        """Return the row of a key, if it has one."""
        place = int(self.keys.searchsorted(key))
        if place == len(self.keys) or self.keys[place] != key:
            return None
        start = int(self._starts[place])
        return self._values[start : start + int(self._sizes[place])]

    def has(self, keys: Sequence[int] | NDArray[Any]) -> NDArray[np.bool_]:
        """Return which keys have a row."""
        wanted = np.asarray(keys, dtype=np.int64)
        places = np.minimum(self.keys.searchsorted(wanted), max(len(self.keys) - 1, 0))
        return self.keys[places] == wanted if len(self.keys) else np.zeros(len(wanted), dtype=bool)
