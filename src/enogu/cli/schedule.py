"""How long the rest of a run will take: what stages usually take, corrected by how this run compares so far."""

from collections.abc import Iterable, Mapping

ENOUGH_SECONDS = 5.0  # of finished stages, before their pace says anything about this machine


class Schedule:
    """What each stage of a run is expected to take, in seconds."""

    def __init__(self, usual: Mapping[str, float]) -> None:
        """Expect the usual."""
        self._usual, self._took = usual, dict[str, float]()

    def ended(self, id: str, seconds: float) -> None:
        """Learn from a finished stage."""
        self._took[id] = seconds

    def left(self, ids: Iterable[str]) -> float | None:
        """Return what stages that are still to run will take; None where one of them was never timed."""
        times = [self._usual.get(id) for id in ids]
        known = [time for time in times if time is not None]
        return sum(known) * self._slowness() if len(known) == len(times) else None

    def _slowness(self) -> float:
        both = [(self._usual[id], seconds) for id, seconds in self._took.items() if id in self._usual]
        usual = sum(expected for expected, _ in both)
        return sum(seconds for _, seconds in both) / usual if usual >= ENOUGH_SECONDS else 1.0
