"""Work shared by processes and machines: byte locks on a file, which the system drops when their process dies.

Byte n is locked by whoever holds n, and becomes 1 when n is finished. Nobody waits for anybody, no clock is read, and
whoever is killed leaves what it held to the rest.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType

import numpy as np

from enogu.core.records.errors import Refused


class Claims:
    """Numbers to be held by one process each; POSIX locks belong to the process, so open a file once in each."""

    def __init__(self, path: Path) -> None:
        """Open or create the file."""
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)

    def __enter__(self) -> "Claims":
        """Hold the file open: its locks last as long."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Give every lock back."""
        os.close(self._file)

    def first(self) -> int:
        """Take the first number that nobody holds."""
        number = 0
        while not self.take(number):
            number += 1
        return number

    def take(self, number: int) -> bool:
        """Take a number unless it is finished or held by another process."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except (BlockingIOError, PermissionError):  # POSIX allows either
            return False
        except OSError as error:
            raise Refused(
                f"{self._path}: the file system has no locks ({error.strerror}); work on one that has"
            ) from error
        if os.pread(self._file, 1, number) != b"\1":
            return True
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)
        return False

    def finish(self, number: int) -> None:
        """Mark a number as finished, for good."""
        os.pwrite(self._file, b"\1", number)
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)

    def finished(self, count: int) -> np.ndarray:
        """Return for each of the first numbers whether it is finished."""
        marks = np.frombuffer(os.pread(self._file, count, 0), np.uint8)
        return np.pad(marks, (0, count - len(marks))).astype(bool)
