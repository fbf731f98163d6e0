"""What a stage is handed: where to write, what to read, how to tell that it goes on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from enogu.core.records.known_hashes import KnownHashes
from enogu.core.records.progress import Progress, silent


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of one stage.

    `out` may hold what an interrupted run of the same settings left; a stage goes on from it.
    `inputs` maps each referring field of the config to {name in the recipe: folder, or checkpoint file}.
    """

    out: Path
    inputs: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    progress: Progress = silent
    device: str = "cpu"
    threads: int = 0
    cluster: str = ""  # the address of a Ray cluster that shares the work on pictures
    known_hashes: KnownHashes = field(default_factory=KnownHashes)

    def one(self, name: str) -> Path:
        """Return the only input of a field."""
        (path,) = self.inputs[name].values()
        return path

    def all(self, name: str) -> Mapping[str, Path]:
        """Return every input of a field by its name in the recipe, in the recipe's order."""
        return self.inputs.get(name, {})
