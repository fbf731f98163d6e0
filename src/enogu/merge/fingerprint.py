"""The SHA-256 of an input, taken from the bytes that a merge reads anyway."""

import hashlib
from collections.abc import Sequence

from enogu.core.networks.direct import BLOCK_BYTES, DirectFile, room, room_for
from enogu.core.networks.stream import Window


class Fingerprint:
    """A hash fed in the order of the file; what the merge leaves out is read in between."""

    def __init__(self, file: DirectFile) -> None:
        """Begin at the file's first byte."""
        self._file, self._position = file, 0
        self._digest, self._room = hashlib.sha256(), room(room_for(BLOCK_BYTES))

    def feed(self, windows: Sequence[Window]) -> None:
        """Take windows that lie behind all earlier ones."""
        for window in windows:
            self._skip(window.start)
            self._digest.update(window.data[self._position - window.start :])
            self._position = max(window.stop, self._position)

    def finish(self) -> str:
        """Read what is left and return the hash."""
        self._skip(self._file.size)
        return self._digest.hexdigest()

    def _skip(self, position: int) -> None:
        while self._position < position:
            stop = min(self._position + BLOCK_BYTES, position)
            self._digest.update(self._file.read(self._position, stop, self._room))
            self._position = stop
