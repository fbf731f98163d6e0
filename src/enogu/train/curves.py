"""The curves of a run: one JSON object a line, and the same numbers for TensorBoard."""

import json
from pathlib import Path

from tensorboardX import SummaryWriter

from enogu.core.records.files import write_bytes


class Curves:
    """Appends points; a resumed run first drops what lies past its position."""

    def __init__(self, folder: Path, *, upto: int, phase: str) -> None:
        """Open `metrics.jsonl` and `tensorboard/`, keeping the points up to an image count within a phase."""
        self._path = folder / "metrics.jsonl"
        kept = self._kept(upto, phase)
        write_bytes(self._path, "".join(kept).encode())
        self._file = self._path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=upto + 1, write_to_disk=True)

    def _kept(self, upto: int, phase: str) -> list[str]:
        if not self._path.exists():
            return []
        lines = [line for line in self._path.read_text(encoding="utf-8").splitlines(True) if line.endswith("\n")]
        places = [(point["images"], point["phase"] != phase) for point in map(json.loads, lines)]
        return [line for line, place in zip(lines, places, strict=True) if place <= (upto, False)]

    def add(self, images: int, phase: str, **values: float) -> None:
        """Add one point at an image count."""
        self._file.write(json.dumps({"images": images, "phase": phase, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, images)

    def close(self) -> None:
        """Flush and close both."""
        self._file.close()
        self._board.close()
