"""The SHA-256 of inputs, taken from the bytes that a merge reads anyway."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from enogu.core.networks.direct import DirectFile, room, room_for
from enogu.core.networks.stream import Window
from enogu.core.records.sha256 import digests

SKIPPED = 1 << 20  # bytes that are read at once of what nobody else reads


class Fingerprints:
    """Hashes of files that are fed together, each in its order; what the merge leaves out is read in between."""

    def __init__(self, files: Sequence[DirectFile]) -> None:
        """Begin at the first byte of each file."""
        self._files = [_Unread(file) for file in files]
        self._digests = digests(len(files))

    def feed(self, windows: Mapping[Path, Sequence[Window]]) -> None:
        """Take windows that lie behind all earlier ones."""
        self._digests.update([unread.through(windows.get(unread.file.path, ())) for unread in self._files])

    def finish(self) -> dict[Path, str]:
        """Read what is left and return the hashes."""
        self._digests.update([unread.until(unread.file.size) for unread in self._files])
        paths = [unread.file.path for unread in self._files]
        return dict(zip(paths, self._digests.hexdigests(), strict=True))


class _Unread:
    """What of a file was not hashed yet."""

    def __init__(self, file: DirectFile) -> None:
        self.file, self._position = file, 0
        self._room = room(room_for(SKIPPED))

    def through(self, windows: Sequence[Window]) -> Iterator[memoryview]:
        """Yield the bytes up to the end of the last window."""
        for window in windows:
            yield from self.until(window.start)
            start, self._position = self._position, max(window.stop, self._position)
            yield window.data[start - window.start :]

    def until(self, position: int) -> Iterator[memoryview]:
        """Read the bytes up to a position of the file."""
        while self._position < position:
            start, self._position = self._position, min(self._position + SKIPPED, position)
            yield self.file.read(start, self._position, self._room)
