"""Work that workers can import: it squares numbers, and may end its worker."""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from enogu.core.records.errors import Failed


@dataclass(frozen=True)
class Squares:
    """Squares numbers; `fatal` ends its worker, for ever or until `marker` is there, and `bad` fails."""

    folder: Path
    fatal: int = -1
    marker: Path | None = None
    bad: int = -1

    @property
    def reads(self) -> tuple[Path, ...]:
        """A folder."""
        return (self.folder,)

    def prepare(self, number: int) -> int:
        """Square one."""
        if number == self.fatal and not (self.marker and self.marker.exists()):
            if self.marker:
                self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if number == self.bad:
            raise Failed(f"{number} is bad")
        return number * number

    def finish(self, batch: Sequence[int]) -> tuple[list[int], int]:
        """Return the squares and who made them."""
        return list(batch), os.getpid()
