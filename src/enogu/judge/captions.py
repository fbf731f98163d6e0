"""Captions as they are lent by the room that wrote them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol


class Captions(Protocol):
    """What judging asks of a captions record."""

    @property
    def sets(self) -> Mapping[str, object]:
        """Return the caption sets by name."""

    def plain(self, post: int, set: str = "tags") -> str:
        """Return a post's caption by the rules of its set, with nothing dropped or shuffled."""


Reader = Callable[[Path, int], Captions]
