"""A plain folder: every image with a text file of comma-separated tags beside it, as trainers write them.

`artist:name` and its like put a tag into a category, `rating:general` gives the rating; without one the
rating is unknown, and the gates keep it out until the recipe says otherwise.
"""

import hashlib
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from enogu.core.records.posts import CATEGORIES
from enogu.posts.normal import Batch, Skip

IMAGES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
FILES = 10_000  # in one batch
SCHEMA = (
    ("id", pl.Int64()),
    ("rating", pl.String()),
    ("file_ext", pl.String()),
    ("image", pl.String()),
    *((f"tags_{kind}", pl.String()) for kind in CATEGORIES),
)


def read(source: Path) -> Iterator[Batch]:
    """Yield the images of a folder and of the folders below it, in order of their paths."""
    paths = iter(sorted(path for path in source.rglob("*") if path.suffix.lower() in IMAGES))
    while chunk := list(islice(paths, FILES)):
        posts = [_post(path, source) for path in chunk]
        rows = [post for post in posts if isinstance(post, dict)]
        skipped = tuple(post for post in posts if isinstance(post, Skip))
        yield Batch(pl.DataFrame(rows, schema=dict(SCHEMA)), skipped)


def _post(path: Path, source: Path) -> dict[str, Any] | Skip:
    image = path.relative_to(source).as_posix()
    try:
        text = path.with_suffix(".txt").read_text(encoding="utf-8")
    except FileNotFoundError:
        return Skip(image, "no .txt beside it")
    except UnicodeDecodeError:
        return Skip(image, ".txt is not UTF-8")
    return {"id": _id(image), "file_ext": path.suffix[1:].lower(), "image": image, **_tags(text)}


def _id(image: str) -> int:
    """Return the number that names the file, or else a number that its path alone decides."""
    stem = Path(image).stem
    if stem.isascii() and stem.isdigit() and len(stem) <= 18:
        return int(stem)
    return int.from_bytes(hashlib.blake2b(image.encode(), digest_size=8).digest(), "big") >> 1


def _tags(text: str) -> dict[str, str]:
    kinds: dict[str, list[str]] = {}
    for tag in re.split(r"[,\n]", text):
        word = re.sub(r"\\([()])", r"\1", tag.strip()).replace(" ", "_")
        kind, colon, rest = word.partition(":")
        known = bool(colon and rest) and kind in (*CATEGORIES, "rating")
        kinds.setdefault(kind if known else "general", []).append(rest if known else word)
    rating = kinds.pop("rating", None)
    tags = {f"tags_{kind}": " ".join(words) for kind, words in kinds.items()}
    return {**tags, "rating": rating[-1]} if rating else tags
