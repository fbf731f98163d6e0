"""Danbooru's API as JSON lines: one post object a line, tags by category in `tag_string_*`.

A post that the site withholds (banned, taken down, members only) has no md5 and no URL; it gets no image
path, and none is ever guessed.
"""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl

from enogu.core.records.posts import CATEGORIES
from enogu.posts.normal import Batch, Skip

LINES = 50_000  # posts in one batch: about 100 MB of text
COLUMNS = MappingProxyType(
    {
        "id": ("id", pl.Int64()),
        "md5": ("md5", pl.String()),
        "rating": ("rating", pl.String()),
        "created_at": ("created_at", pl.String()),
        "score": ("score", pl.Int64()),
        "fav_count": ("fav_count", pl.Int64()),
        "aesthetic": ("aesthetic", pl.Float64()),
        "width": ("image_width", pl.Int64()),
        "height": ("image_height", pl.Int64()),
        "file_ext": ("file_ext", pl.String()),
        "image": ("file_name", pl.String()),
        "is_deleted": ("is_deleted", pl.String()),
        "is_banned": ("is_banned", pl.String()),
        **{f"tags_{kind}": (f"tag_string_{kind}", pl.String()) for kind in CATEGORIES},
    }
)


def read(source: Path) -> Iterator[Batch]:
    """Yield the posts of a JSON-lines file; a line that is no post is skipped and named."""
    with source.open("rb") as lines:
        numbered = enumerate(lines, start=1)
        while chunk := list(islice(numbered, LINES)):
            yield _batch(chunk)


def _batch(lines: list[tuple[int, bytes]]) -> Batch:
    posts, skipped = [], []
    for number, line in lines:
        post = _post(line)
        if isinstance(post, str):
            skipped.append(Skip(f"line {number}", post))
        else:
            posts.append(post)
    columns = [
        pl.Series(name, [post.get(key) for post in posts], dtype=dtype, strict=False)
        for name, (key, dtype) in COLUMNS.items()
    ]
    return Batch(pl.DataFrame(columns), tuple(skipped))


def _post(line: bytes) -> dict[str, Any] | str:
    """Return the post of a line, or why it is none."""
    try:
        post = json.loads(line)
    except ValueError:  # also what is not UTF-8
        return "not JSON" if line.strip() else "empty line"
    if not isinstance(post, dict):
        return "not an object"
    return post if type(post.get("id")) is int else "no id"
