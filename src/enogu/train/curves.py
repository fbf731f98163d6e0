"""The curves of a run: one JSON object a line, and the same numbers for TensorBoard."""

import json
from pathlib import Path

from tensorboardX import SummaryWriter


class Curves:
    """Appends points; a resumed run first drops what lies past its position."""

    def __init__(self, folder: Path, *, upto: int) -> None:
        """Open `metrics.jsonl` and `tensorboard/`, keeping the points up to an image count."""
        self._path = folder / "metrics.jsonl"
        kept = self._kept(upto)
        folder.mkdir(parents=True, exist_ok=True)
        self._path.write_text("".join(kept), encoding="utf-8")
        self._file = self._path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=upto + 1, write_to_disk=True)

    def _kept(self, upto: int) -> list[str]:
        if not self._path.exists():
            return []
        lines = [line for line in self._path.read_text(encoding="utf-8").splitlines(True) if line.endswith("\n")]
        return [line for line in lines if json.loads(line)["images"] <= upto]

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
