"""What a run shows on stderr: a line per stage, and one progress line."""

import sys

from enogu.cli.progress import ProgressLine, duration
from enogu.core.records.progress import Progress
from enogu.recipe.done import Done
from enogu.recipe.plan import Task


class Console:
    """The runner's watch on a terminal or in a log."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._line: ProgressLine | None = None

    def kept(self, done: Done) -> None:
        """Tell that a stage was finished by an earlier run."""
        self._say(f"{done.id}: done before, in {duration(done.seconds)}")

    def begins(self, task: Task, place: int, total: int) -> Progress:
        """Tell that a stage begins; return its progress line."""
        self._say(f"[{place}/{total}] {task.stage.id}")
        self._line = ProgressLine(f"[{place}/{total}] {task.stage.id}", sys.stderr)
        return self._line

    def waits(self, task: Task, owner: str) -> None:
        """Tell that another process is running this stage."""
        self._say(f"{task.stage.id}: process {owner or '?'} is running it; waiting for it to end")

    def ends(self, done: Done) -> None:
        """Tell that a stage is finished, and what it counted."""
        counts = ", ".join(f"{key} {value:,}" for key, value in done.summary.items() if type(value) is int)
        self._say(f"{done.id}: done in {duration(done.seconds)}" + (f" ({counts})" if counts else ""))

    def clear(self) -> None:
        """Take the progress line off the terminal."""
        if self._line:
            self._line.clear()

    def _say(self, text: str) -> None:
        self.clear()
        print(text, file=sys.stderr, flush=True)
