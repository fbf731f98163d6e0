"""Pictures that have no record, and why; kept while a run is unfinished, so that nobody tries them twice."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A picture that has no record, and why."""

    post: int
    image: str
    sha256: str
    reason: str
    detail: str


def note(folder: Path, writer: str, skipped: list[Skipped]) -> None:
    """Append to a writer's list."""
    if skipped:
        with _path(folder, writer).open("ab", buffering=0) as handle:
            handle.write("".join(json.dumps(asdict(one)) + "\n" for one in skipped).encode())


def mend(folder: Path, writer: str) -> None:
    """Cut off a line that was not finished."""
    path = _path(folder, writer)
    if path.exists():
        data = path.read_bytes()
        path.write_bytes(data[: data.rfind(b"\n") + 1])


def noted(folder: Path) -> list[Skipped]:
    """Return what every writer has noted."""
    found = []
    for path in sorted(folder.glob("skips-*.jsonl")):
        data = path.read_bytes()
        found += [Skipped(**json.loads(line)) for line in data[: data.rfind(b"\n") + 1].splitlines()]
    return found


def clear(folder: Path) -> None:
    """Remove the lists, and the claims on units of work."""
    for path in (*folder.glob("skips-*.jsonl"), *folder.glob("claims-*")):
        path.unlink()


def _path(folder: Path, writer: str) -> Path:
    return folder / f"skips-{writer}.jsonl"
