"""Webdataset: tars in which a picture and what says what it shows share a name up to its first dot."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

from enogu.core.records.tars import Member, members, read_at
from enogu.posts.batch import Asked, Batch, Skip
from enogu.posts.sidecars import ENDINGS, IMAGES, batches, post

POSTS = 10_000  # in one batch


def read(source: Path, asked: Asked) -> Iterator[Batch]:
    """Yield the pictures of a tar, or of all tars below a folder, in order."""
    tars = sorted(source.rglob("*.tar")) if source.is_dir() else [source]
    root = source if source.is_dir() else source.parent
    done = asked.after or 0
    found = islice((each for tar in tars for each in _posts(tar, root)), done, None)
    while chunk := list(islice(found, POSTS)):
        done += len(chunk)
        yield from batches(chunk, done)


def holds_posts(tar: Path) -> bool:
    """Tell whether a tar holds more than pictures."""
    return any(PurePosixPath(member.name).suffix.lower() in ENDINGS for member in islice(members(tar), 64))


def _posts(tar: Path, root: Path) -> Iterator[dict[str, object] | Skip]:
    within = tar.relative_to(root).as_posix()
    if tar.is_symlink():
        yield Skip(within, "a symbolic link")
        return
    groups: dict[str, dict[str, Member]] = {}
    for member in members(tar):
        if member.fault:
            yield Skip(f"{within}/{member.name}", member.fault)
        else:
            path = PurePosixPath(member.name)
            stem, _, ending = path.name.partition(".")
            groups.setdefault((path.parent / stem).as_posix(), {})[f".{ending.lower()}"] = member
    for group in groups.values():
        image = next((member for ending, member in group.items() if ending in IMAGES), None)
        if image is None:
            yield Skip(f"{within}/{next(iter(group.values())).name}", "no picture of that name")
            continue
        beside = {
            ending: read_at(tar, group[ending].offset, group[ending].size) for ending in ENDINGS if ending in group
        }
        yield post(f"{within}/{image.name}", beside)
