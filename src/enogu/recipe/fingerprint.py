"""SHA-256 of files from outside, each read once: a file of the same size and time keeps its hash."""

from pathlib import Path
from typing import Any

from enogu.core.records.errors import Refused
from enogu.core.records.files import read_json, write_json
from enogu.core.records.hashes import settings_hash, sha256_file
from enogu.recipe.lock import locked


class Fingerprints:
    """Hashes of files and folders, remembered in one JSON file of the work folder."""

    def __init__(self, memory: Path) -> None:
        """Recall what was hashed before."""
        self._memory = memory
        self._known: dict[str, list[Any]] = read_json(memory) if memory.exists() else {}

    def of(self, path: Path) -> str:
        """Return the SHA-256 of a file, or one hash over all files below a folder."""
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            return settings_hash({file.relative_to(path).as_posix(): self._file(file) for file in files})
        if not path.exists():
            raise Refused(f"{path}: there is no such file")
        return self._file(path)

    def remember(self) -> None:
        """Write what was hashed, for the next time, and remove what killed writes of it left."""
        with locked(self._memory.parent / ".locks" / self._memory.name, lambda _: None):
            for part in self._memory.parent.glob(f".{self._memory.name}.*.part"):
                part.unlink()
            write_json(self._memory, self._known)

    def _file(self, path: Path) -> str:
        state = path.stat()
        name, mark = str(path.resolve()), [state.st_size, state.st_mtime_ns]
        if self._known.get(name, [])[:2] != mark:
            self._known[name] = [*mark, sha256_file(path)]
        return str(self._known[name][2])
