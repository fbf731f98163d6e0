"""SHA-256 of files from outside, each read once."""

from contextlib import suppress
from pathlib import Path

from enogu.core.records.errors import Refused
from enogu.core.records.files import sweep_beside
from enogu.core.records.hashes import settings_hash
from enogu.core.records.known_hashes import KnownHashes
from enogu.recipe.lock import locked


class Fingerprints:
    """Hashes of files and folders, remembered in one JSON file of the work folder."""

    def __init__(self, memory: Path) -> None:
        """Recall what was hashed before."""
        self._memory = memory
        self.files = KnownHashes(memory)

    def of(self, path: Path) -> str:
        """Return the SHA-256 of a file, or one hash over all files below a folder."""
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            return settings_hash({file.relative_to(path).as_posix(): self.files.of(file) for file in files})
        if not path.exists():
            raise Refused(f"{path}: there is no such file")
        return self.files.of(path)

    def remember(self) -> None:
        """Write what was hashed, for the next time, and remove what killed writes of it left; where one may."""
        with suppress(OSError), locked(self._memory.parent / ".locks" / self._memory.name, lambda _: None):
            sweep_beside(self._memory)
            self.files.remember()
