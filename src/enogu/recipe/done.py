"""The record of a finished stage: `done.json`, written last, so that its presence means that all is there."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from enogu.core.records.files import read_json, write_json
from enogu.core.records.hashes import sha256_file
from enogu.core.records.journal import SHARDS
from enogu.core.records.shards import INDEX

FILE = "done.json"


@dataclass(frozen=True, kw_only=True)
class Done:
    """What was run, on what, and what came of it."""

    id: str
    kind: str
    name: str
    hash: str
    summary: dict[str, Any]
    seconds: float
    started: str  # ISO 8601, UTC
    inputs: dict[str, dict[str, str]]  # field: {name: hash}
    settings: dict[str, Any]
    outputs: dict[str, dict[str, Any]]  # file directly in the folder: {bytes, sha256}, shards without hash


def read_done(folder: Path, hash: str) -> Done | None:
    """Return a folder's record if it is of this hash and its files are all there, else None."""
    try:
        done = Done(**read_json(folder / FILE))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None
    return done if done.hash == hash and _intact(folder, done) else None


def write_done(folder: Path, done: Done) -> None:
    """Write the record."""
    write_json(folder / FILE, asdict(done))


def outputs(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what is noted of every file directly in a folder."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name != FILE)
    return {file.name: noted(file) for file in files}


def noted(file: Path) -> dict[str, Any]:
    """Return the size and SHA-256 of a file; of a shard the size: its index has the checksum of every record."""
    size = {"bytes": file.stat().st_size}
    return size if file.match(SHARDS) else size | {"sha256": sha256_file(file)}


def _intact(folder: Path, done: Done) -> bool:
    sizes = {file.name: file.stat().st_size for file in folder.iterdir() if file.is_file()}
    if any(sizes.get(name) != output["bytes"] for name, output in done.outputs.items()):
        return False
    sharded = INDEX in done.outputs and any("sha256" not in output for output in done.outputs.values())
    return not sharded or sha256_file(folder / INDEX) == done.outputs[INDEX]["sha256"]
