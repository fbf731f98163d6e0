"""Several refusals at once, so that a maker mends a recipe in one go."""

from collections.abc import Iterator
from contextlib import contextmanager

from enogu.core.records.errors import Refused


@contextmanager
def prefixed(prefix: str) -> Iterator[None]:
    """Put a prefix before every line of a refusal raised inside."""
    try:
        yield
    except Refused as problem:
        raise Refused("\n".join(prefix + line for line in str(problem).splitlines())) from problem


class Problems:
    """Notes what is wrong, a line each, and refuses it all together."""

    def __init__(self) -> None:
        """Start with nothing wrong."""
        self._lines: dict[str, None] = {}  # a set that keeps its order

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note a refusal raised inside and go on after the block."""
        try:
            yield
        except Refused as problem:
            self._lines.update(dict.fromkeys(str(problem).splitlines()))

    def settle(self) -> None:
        """Refuse everything noted; return when there is nothing."""
        if self._lines:
            raise Refused("\n".join(self._lines))
