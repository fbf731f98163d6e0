"""How long work tells that it goes on: a callable, so that no room prints."""

from typing import Protocol


class Progress(Protocol):
    """Called as often as convenient; whoever shows it decides how often to show it."""

    def __call__(self, done: int, total: int, what: str) -> None:
        """Report that `done` of `total` units of `what` are finished."""


def silent(done: int, total: int, what: str) -> None:
    """Show nothing."""
