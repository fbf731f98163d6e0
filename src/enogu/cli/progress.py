"""One line on stderr that tells how far a run is: place, stage, count, rate, time left."""

import os
import time
from collections.abc import Callable
from typing import TextIO

REDRAW_SECONDS = 0.1  # on a terminal
MEGA = 1_000_000
LOG_SECONDS = 10.0  # where the line cannot be redrawn, as in a log file


class ProgressLine:
    """A Progress that draws itself; `label` says whose it is, `after` how many seconds of other work follow."""

    def __init__(
        self,
        label: str,
        stream: TextIO,
        *,
        after: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the clock; draw nothing yet."""
        self._label, self._stream, self._after, self._clock = label, stream, after, clock
        self._live = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._what, self._first, self._since = "", 0, clock()
        self._drawn = clock() - (0 if not self._live else REDRAW_SECONDS)

    def __call__(self, done: int, total: int, what: str) -> None:
        """Show that `done` of `total` units of `what` are finished; bytes as millions of them."""
        if what == "bytes" and total > MEGA:
            done, total, what = done // MEGA, total // MEGA, "MB"
        now = self._clock()
        if what != self._what or done < self._first:
            self._what, self._first, self._since = what, done, now
        if now - self._drawn < (REDRAW_SECONDS if self._live else LOG_SECONDS) and not (self._live and done == total):
            return
        self._drawn = now
        pace = (done - self._first) / (now - self._since) if now > self._since else 0.0
        left = self._left((total - done) / pace, pace) if pace > 0 and done < total else ""
        text = f"{self._label}: {done:,} of {total:,} {what}{left}"
        self._stream.write(f"\r\x1b[K{text[: self._columns()]}" if self._live else f"{text}\n")
        self._stream.flush()

    def _left(self, seconds: float, pace: float) -> str:
        everything = f" ({duration(seconds + self._after)} for all)" if self._after else ""
        return f", {pace_text(pace)}, {duration(seconds)} left{everything}"

    def _columns(self) -> int | None:
        """Return how much fits into one line of the terminal, if it tells: a line that wraps is not wiped."""
        try:
            return max(os.get_terminal_size(self._stream.fileno()).columns - 1, 0) or None
        except OSError:
            return None

    def clear(self) -> None:
        """Take the line off the terminal."""
        if self._live:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def pace_text(pace: float) -> str:
    """Return a rate with three significant digits, per second or, when slow, per minute."""
    return f"{pace:,.0f}/s" if pace >= 1000 else f"{pace:.3g}/s" if pace >= 1 else f"{pace * 60:.3g}/min"


def duration(seconds: float) -> str:
    """Return a duration in its two largest units."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"
