"""How a program is asked to stop: Ctrl-C, held back for a moment or not, and what schedulers send instead."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held() -> Iterator[None]:
    """Note SIGINT instead of raising it; one that came is raised at the end. Other threads are never interrupted.

    Extension modules that are interrupted while they load fail as if they were broken.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        signal.raise_signal(signal.SIGINT)


@contextmanager
def like_ctrl_c() -> Iterator[None]:
    """Take SIGTERM, by which schedulers and systems stop a program, for SIGINT, so that what is half written goes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_: object) -> None:
    if not callable(signal.getsignal(signal.SIGINT)):  # shells let programs in the background ignore it
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)
