"""Finished stages as the report reads them: a folder each, with the `done.json` of the run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enogu.core.records.files import read_json


@dataclass(frozen=True, kw_only=True)
class Finished:
    """One finished stage: where it lies and what its runner wrote down."""

    folder: Path
    id: str
    kind: str
    name: str
    hash: str
    seconds: float
    started: str
    summary: Mapping[str, Any]
    inputs: Mapping[str, Mapping[str, str]]  # field: {name: hash}
    settings: Mapping[str, Any]


def finished(folders: Iterable[Path]) -> list[Finished]:
    """Read every stage's done.json, in the order the stages were started."""
    stages = []
    for folder in folders:
        done: dict[str, Any] = read_json(folder / "done.json")
        kind, _, name = done["id"].partition(".")
        stages.append(
            Finished(
                folder=folder,
                id=done["id"],
                kind=kind,
                name=name,
                hash=done.get("hash", ""),
                seconds=float(done.get("seconds", 0.0)),
                started=str(done.get("started", "")),
                summary=done.get("summary") or {},
                inputs=done.get("inputs") or {},
                settings=done.get("settings") or {},
            )
        )
    return sorted(stages, key=lambda stage: stage.started)


def of_kind(stages: Iterable[Finished], kind: str) -> list[Finished]:
    """Return the stages of one kind."""
    return [stage for stage in stages if stage.kind == kind]
