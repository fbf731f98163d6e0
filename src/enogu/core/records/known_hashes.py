"""SHA-256 of files that do not change, each read once: remembered by path, size, inode and times of change."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from enogu.core.records.files import write_json
from enogu.core.records.hashes import sha256_file

Mark = list[int]


def mark_of(path: Path) -> Mark:
    """Return what changes with a file's bytes; nobody sets the time of its last change (ctime) back."""
    state = path.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


class KnownHashes:
    """Hashes by path, kept in one JSON file, or for the life of this object where none is named."""

    def __init__(self, memory: Path | None = None) -> None:
        """Recall what was hashed before; a damaged memory is no loss."""
        self._memory = memory
        self._known = _recalled(memory)

    def of(self, path: Path, read: Callable[[Path], str] | None = None) -> str:
        """Return the SHA-256 of a file; read it only if it changed."""
        found = self.get(path)
        if found is None:
            mark, found = mark_of(path), (read or sha256_file)(path)
            self.note(path, mark, found)
        return found

    def get(self, path: Path) -> str | None:
        """Return the SHA-256 of an unchanged file if it is known; a folder does not show that its files changed."""
        entry = self._known.get(str(path.resolve()), [])
        return str(entry[-1]) if path.is_file() and entry[:-1] == mark_of(path) else None

    def note(self, path: Path, mark: Mark, digest: str) -> None:
        """Keep the hash of a file that had this mark before it was read."""
        self._known[str(path.resolve())] = [*mark, digest]

    def saw(self, path: Path) -> bool:
        """Return whether a file was hashed before, changed or not."""
        return str(path.resolve()) in self._known

    def remember(self) -> None:
        """Write what is known for the next time, beside what others learnt; where that cannot be, nothing is lost."""
        if self._memory is None:
            return
        with suppress(OSError):
            write_json(self._memory, {**_recalled(self._memory), **self._known})


def _recalled(memory: Path | None) -> dict[str, list[Any]]:
    try:
        found = json.loads(memory.read_text("utf-8")) if memory else {}
    except (OSError, ValueError):
        return {}
    return {name: entry for name, entry in found.items() if isinstance(entry, list)} if isinstance(found, dict) else {}
