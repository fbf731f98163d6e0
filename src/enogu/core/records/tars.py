"""Files inside tars: a path may go through a tar as if it were a folder, as in 0514.tar/114514.webp.

An index beside the tar in the form of hfutils and cheesechaser (0514.json: files -> name -> offset, size) saves the
look through it. What a tar should not hold, links and paths that climb out of it, is never found.
"""

import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import xxhash

SUFFIX = ".tar"
TARS = 16_384  # whose indexes are held; one of 10,000 files takes 240 kB


@dataclass(frozen=True)
class Member:
    """A file in a tar."""

    name: str
    offset: int
    size: int
    fault: str = ""  # why it is not to be read


def inside(path: Path) -> tuple[Path, str] | None:
    """Split a path into a tar and the name of a member, if it goes through a tar."""
    for parent in path.parents:
        if parent.suffix == SUFFIX and parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return None


def members(tar: Path) -> Iterator[Member]:
    """Yield everything that a tar holds, in order; a last one with a fault where it ends too early."""
    size = tar.stat().st_size
    try:
        with tarfile.open(tar, "r:", errorlevel=0) as archive:
            for info in archive:
                if not info.isdir():
                    yield _member(info.name, info.offset_data, info.size, fault=_kind(info), limit=size)
    except (tarfile.TarError, EOFError, OSError) as error:
        yield Member(tar.name, 0, 0, f"the tar is damaged ({error})")


def read_at(tar: Path, offset: int, size: int) -> bytes:
    """Return some bytes of a tar."""
    with tar.open("rb") as handle:
        return os.pread(handle.fileno(), size, offset)


def read_member(tar: Path, name: str) -> bytes:
    """Return the bytes of a member, or raise FileNotFoundError."""
    state = tar.stat()
    place = _index(tar, state.st_size, state.st_mtime_ns).find(name)
    if place is None:
        raise FileNotFoundError(f"{tar} holds no {name}")
    return read_at(tar, *place)


class Index:
    """Where the members of a tar lie; 24 bytes each."""

    def __init__(self, found: list[Member]) -> None:
        """Keep what may be read; of two members with one name the later counts, as when tar unpacks."""
        names = np.array([_hash(member.name) for member in found if not member.fault], np.uint64)
        places = np.array([(member.offset, member.size) for member in found if not member.fault], np.int64)
        order = np.argsort(names, kind="stable")
        self._names, self._places = names[order], places.reshape(-1, 2)[order]

    def find(self, name: str) -> tuple[int, int] | None:
        """Return offset and size."""
        wanted = np.uint64(_hash(PurePosixPath(name).as_posix()))
        row = int(np.searchsorted(self._names, wanted, side="right")) - 1
        if row < 0 or self._names[row] != wanted:
            return None
        offset, size = self._places[row].tolist()
        return offset, size


def listing(tar: Path) -> list[Member]:
    """Return what a tar holds, by the index beside it where that fits, else by looking through it."""
    size = tar.stat().st_size
    try:
        listed = json.loads(tar.with_suffix(".json").read_bytes())
        if listed.get("filesize", size) == size:  # else the tar was written anew since
            return [_listed(name, entry, size) for name, entry in listed["files"].items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # no index, or none of this form
    return list(members(tar))


@lru_cache(maxsize=TARS)
def _index(tar: Path, size: int, changed: int) -> Index:
    return Index(listing(tar))


def _listed(name: str, entry: dict[str, Any], limit: int) -> Member:
    return _member(name, int(entry["offset"]), int(entry["size"]), fault="", limit=limit)


def _member(name: str, offset: int, size: int, *, fault: str, limit: int) -> Member:
    path = PurePosixPath(name)
    if not fault and (path.is_absolute() or ".." in path.parts):
        fault = "a path that climbs out"
    if not fault and (offset < 0 or size < 0 or offset + size > limit):
        fault = "truncated"
    return Member(path.as_posix(), offset, size, fault)


def _kind(info: tarfile.TarInfo) -> str:
    if info.issym() or info.islnk():
        return "a link"
    return "" if info.isreg() and not info.issparse() else "not a plain file"


def _hash(name: str) -> int:
    return xxhash.xxh3_64_intdigest(name.encode("utf-8", "surrogateescape"))
