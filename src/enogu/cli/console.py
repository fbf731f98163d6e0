"""What a run shows on stderr: a line per stage, and one progress line."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from enogu.cli.progress import ProgressLine, duration
from enogu.cli.schedule import Schedule
from enogu.core.records.progress import Progress
from enogu.recipe.done import Done
from enogu.recipe.plan import Task

SHOWN = 5  # remarks of one kind; the record of the stage has them all


class Console:
    """The runner's watch on a terminal or in a log."""

    def __init__(self, schedule: Schedule) -> None:
        """Show nothing yet."""
        self._line: ProgressLine | None = None
        self._schedule = schedule

    def kept(self, done: Done) -> None:
        """Tell that a stage was finished by an earlier run."""
        self._say(f"{done.id}: done before, in {duration(done.seconds)}")

    def begins(self, task: Task, todo: Sequence[str]) -> Progress:
        """Tell that a stage begins and how long all will take; return its progress line."""
        place = todo.index(task.stage.id)
        label = f"[{place + 1}/{len(todo)}] {task.stage.id}"
        left = self._schedule.left(todo[place:])
        self._say(label if left is None else f"{label} ({duration(left)} left for all)")
        self._line = ProgressLine(label, sys.stderr, after=self._schedule.left(todo[place + 1 :]))
        return self._line

    def waits(self, task: Task, owner: str) -> None:
        """Tell that another process is running this stage."""
        self._say(f"{task.stage.id}: process {owner or '?'} is running it; waiting for it to end")

    def ends(self, done: Done) -> None:
        """Tell that a stage is finished, and what it counted."""
        self._schedule.ended(done.id, done.seconds)
        counts = ", ".join(f"{key} {value:,}" for key, value in done.summary.items() if type(value) is int)
        self._say(f"{done.id}: done in {duration(done.seconds)}" + (f" ({counts})" if counts else ""))
        for line in remarks(done.summary):
            self._say(f"{done.id}: {line}")

    def clear(self) -> None:
        """Take the progress line off the terminal."""
        if self._line:
            self._line.clear()

    def _say(self, text: str) -> None:
        self.clear()
        print(text, file=sys.stderr, flush=True)


def remarks(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the summary of a stage has to say besides its counts: notes, warnings, what was skipped and why."""
    for key, word in (("notes", "note"), ("warnings", "warning")):
        told = summary.get(key, ())
        yield from (f"{word}: {one}" for one in told[:SHOWN])
        if len(told) > SHOWN:
            yield f"and {len(told) - SHOWN:,} more {key}"
    if skipped := summary.get("skipped"):
        reasons = sorted(skipped.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{reason} {count:,}" for reason, count in reasons[:SHOWN])
        more = f" and {len(reasons) - SHOWN:,} more reasons" if len(reasons) > SHOWN else ""
        yield f"skipped {sum(skipped.values()):,}: {shown}{more}"
