"""kohya's metadata: one JSON object from image paths to tags and captions (in_json), or JSON lines with `image_path`.

Keys may be whole paths, or bare stems where its scripts ran without --full_path; a stem is looked up beside the file.
"""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from enogu.posts.batch import Asked, Batch, Skip
from enogu.posts.json_posts import MARK, parsed
from enogu.posts.packed import blocks, head
from enogu.posts.pages import entries
from enogu.posts.sidecars import IMAGES, batches, from_text, number_of

POSTS = 20_000  # in one batch
BEGINS = re.compile(rb'\s*\{\s*"(?:[^"\\]|\\.)+"\s*:\s*\{\s*"(?:tags|caption|image_size|train_resolution)"\s*:')
LINE = re.compile(rb'\s*\{[^\n]*"image_path"\s*:')


def fits(path: Path) -> bool:
    """Tell whether a file is such metadata."""
    text = head(path, 1 << 16).removeprefix(MARK)
    return bool(BEGINS.match(text) or LINE.match(text))


def read(source: Path, asked: Asked) -> Iterator[Batch]:
    """Yield the images that the metadata names."""
    done = asked.after or 0
    found = islice(_entries(source), done, None)
    while chunk := list(islice(found, POSTS)):
        done += len(chunk)
        yield from batches([_post(at, entry, source.parent) for at, entry in chunk], done)


def _entries(source: Path) -> Iterator[tuple[str, Any]]:
    if BEGINS.match(head(source, 1 << 16).removeprefix(MARK)):
        for path, entry in entries(source):
            yield path, {**entry, "image_path": path} if isinstance(entry, dict) else entry
        return
    done = 0
    for block in blocks(source):
        lines = block.text.removeprefix(MARK).splitlines()
        yield from ((f"line {number}", parsed(line)) for number, line in enumerate(lines, start=done + 1))
        done += len(lines)
        if block.fault:
            yield f"line {done}", block.fault


def _post(at: str, entry: Any, folder: Path) -> dict[str, Any] | Skip:
    if isinstance(entry, str):
        return Skip(at, entry)
    path = entry.get("image_path")
    if not isinstance(path, str) or not path:
        return Skip(at, "no image_path")
    image = _image(path.replace("\\", "/"), folder)
    if image is None:
        return Skip(at, "no image of that name")
    tags, caption, size = (entry.get(name) for name in ("tags", "caption", "image_size"))
    found = from_text(tags) if isinstance(tags, str) else {}
    if isinstance(size, list) and len(size) == 2:
        found |= {"width": size[0], "height": size[1]}
    named = {"id": number_of(image), "image": image, "file_ext": PurePosixPath(image).suffix[1:].lower()}
    return {**found, **named, "caption": caption if isinstance(caption, str) else None}


def _image(path: str, folder: Path) -> str | None:
    if PurePosixPath(path).suffix.lower() in IMAGES:
        inside = PurePosixPath(path).is_relative_to(folder.as_posix())
        return PurePosixPath(path).relative_to(folder.as_posix()).as_posix() if inside else path
    return next((path + ending for ending in sorted(IMAGES) if (folder / (path + ending)).is_file()), None)
