"""A folder of pictures, each with a file beside it: kohya's .txt and .caption, gallery-dl's .json."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from enogu.posts.batch import Asked, Batch, Skip
from enogu.posts.sidecars import ENDINGS, IMAGES, batches, post

FILES = 10_000  # in one batch


def read(source: Path, asked: Asked) -> Iterator[Batch]:
    """Yield the images of a folder and of the folders below it, in order of their paths."""
    done = asked.after or 0
    found = islice(images(source), done, None)
    while chunk := list(islice(found, FILES)):
        done += len(chunk)
        yield from batches([_post(each, source) for each in chunk], done)


def images(folder: Path) -> Iterator[Path]:
    """Yield the images below a folder; of folders that are links, nothing."""
    with os.scandir(folder) as entries:
        here = sorted(entries, key=lambda entry: entry.name)
    for entry in here:
        if entry.is_dir(follow_symlinks=False):
            yield from images(Path(entry.path))
        elif Path(entry.name).suffix.lower() in IMAGES:
            yield Path(entry.path)


def _post(path: Path, source: Path) -> dict[str, object] | Skip:
    image = path.relative_to(source).as_posix()
    if path.is_symlink():
        return Skip(image, "a symbolic link")
    beside: dict[str, bytes] = {}
    for ending in ENDINGS:
        for name in (f"{path.name}{ending}", f"{path.stem}{ending}"):  # gallery-dl's way, the trainers' way
            try:
                beside.setdefault(ending, (path.parent / name).read_bytes())
            except FileNotFoundError:
                continue
            except OSError as error:
                return Skip(image, f"{name} cannot be read ({error.strerror})")
    return post(image, beside)
