"""Atomic files: a reader sees the old file or the whole new one, never a part."""

import glob
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def atomic_path(path: Path, *, hold: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success fsync it and rename it to `path`.

    With `hold` it is a file already, and held as long as that takes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with held(part) if hold else nullcontext():
            yield part
            with part.open("rb") as handle:
                os.fsync(handle.fileno())
            os.replace(part, path)
        _sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def sweep_beside(path: Path) -> None:
    """Remove what killed writes of one file left; only for whoever alone writes it."""
    for part in _parts(path):
        part.unlink(missing_ok=True)


@contextmanager
def held(part: Path) -> Iterator[None]:
    """Hold a file or folder that is being written, which tells it from what a killed write left."""
    if not part.is_dir():
        part.touch()
    with _opened(part) as handle:
        _lock(handle, alone=False)
        yield


def sweep_dead(path: Path) -> None:
    """Remove what killed writes of a file or folder left, but nothing that is held or may be."""
    for part in _parts(path):
        with suppress(OSError), _opened(part) as handle:  # it may be gone by now, or another's
            if _lock(handle, alone=True):
                _remove(part)


def is_being_written(path: Path) -> bool:
    """Return whether another program holds what will be this file or folder."""
    for part in _parts(path):
        with suppress(FileNotFoundError), _opened(part) as handle:
            try:
                _lock_now(handle, alone=True)
            except BlockingIOError:
                return True
            except OSError:  # a folder without locks cannot tell
                continue
    return False


def sweep(folder: Path) -> None:
    """Remove what killed writes left below a folder; only for whoever is alone at work in it."""
    for part in list(folder.rglob(".*.????????.part*")):  # SQLite keeps a journal beside its file
        _remove(part)  # it may have lain in such a folder


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes atomically."""
    with atomic_path(path) as part:
        part.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented UTF-8 JSON, atomically; bytes of a path that are no text come back as they were."""
    write_bytes(path, (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode(errors="backslashreplace"))


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def _parts(path: Path) -> Iterator[Path]:
    return path.parent.glob(f".{glob.escape(path.name)}.????????.part")


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part)
    else:
        part.unlink(missing_ok=True)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


def _lock(handle: int, *, alone: bool) -> bool:
    """Return whether a file is locked now, until it is closed; Windows and some network folders know no such locks."""
    try:
        _lock_now(handle, alone=alone)
    except OSError:
        return False
    return fcntl is not None


def _lock_now(handle: int, *, alone: bool) -> None:
    if fcntl is not None:
        fcntl.flock(handle, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)


def _sync_folder(folder: Path) -> None:
    with _opened(folder) as handle:
        os.fsync(handle)
