"""What lies beside a picture: tags in .txt, a sentence in .caption, a JSON object (trainers, gallery-dl).

In text, `artist:name` and its like put a tag into a category, and `rating:general` gives the rating. Without one the
rating is unknown, and the gates keep the picture out until the recipe says otherwise.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

import polars as pl

from enogu.core.records.posts import CATEGORIES
from enogu.posts.batch import Batch, Skip

IMAGES = frozenset({".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".jxl", ".png", ".tif", ".tiff", ".webp"})
ENDINGS = (".json", ".txt", ".caption")  # the first that is there counts; a .caption may stand beside a .txt
FOLDED = MappingProxyType({"contributor": "meta", "lore": "meta", "invalid": "meta", "metadata": "meta"})
KINDS = (*CATEGORIES, *FOLDED)
COLUMNS = ("image", "file_ext", *(f"tags_{kind}" for kind in CATEGORIES))


def post(image: str, beside: Mapping[str, bytes]) -> dict[str, Any] | Skip:
    """Return the post of an image from the files beside it, by their endings."""
    try:
        texts = {ending: data.decode("utf-8-sig") for ending, data in beside.items()}
    except UnicodeDecodeError:
        return Skip(image, f"{next(iter(beside))} is not UTF-8")
    if not texts:
        return Skip(image, "no .txt or .json beside it")
    found: dict[str, Any] = {}
    if ".json" in texts:
        try:
            found = from_json(json.loads(texts[".json"]))
        except (ValueError, RecursionError, AttributeError, TypeError) as error:
            return Skip(image, f".json is no post ({type(error).__name__})")
    elif ".txt" in texts:
        found = from_text(texts[".txt"])
    if ".caption" in texts:
        found["caption"] = texts[".caption"]
    number = found.get("id")
    return {
        **found,
        "id": number if type(number) is int else number_of(image),
        "image": image,
        "file_ext": PurePosixPath(image).suffix[1:].lower(),
    }


def batches(posts: list[dict[str, Any] | Skip], mark: Any) -> list[Batch]:
    """Return posts as one batch for each site; the last one carries the mark and the skips."""
    skipped = tuple(each for each in posts if isinstance(each, Skip))
    by_site: dict[tuple[str, str], list[dict[str, Any]]] = {("", ""): []}
    for each in posts:
        if isinstance(each, dict):
            by_site.setdefault((each.pop("site", ""), each.pop("ratings", "")), []).append(each)
    *others, last = reversed(by_site.items())
    made = [Batch(_frame(some), site=site, ratings=ratings) for (site, ratings), some in others]
    (site, ratings), some = last
    return [*made, Batch(_frame(some), skipped, mark, site, ratings)]


def from_text(text: str) -> dict[str, Any]:
    """Read tags between commas or on lines of their own."""
    kinds: dict[str, list[str]] = {}
    for tag in re.split(r"[,\n]", text):
        word = re.sub(r"\\([()])", r"\1", tag.strip()).replace(" ", "_")
        kind, colon, rest = word.partition(":")
        known = bool(colon and rest) and kind in (*CATEGORIES, "rating")
        kinds.setdefault(kind if known else "general", []).append(rest if known else word)
    rating = kinds.pop("rating", None)
    tags: dict[str, Any] = {f"tags_{kind}": words for kind, words in kinds.items()}
    return {**tags, "rating": rating[-1]} if rating else tags


def from_json(value: dict[str, Any]) -> dict[str, Any]:
    """Read an object in gallery-dl's words, in those of a site, or in ours."""
    paths, sites = _table()
    found = {
        name: next((_plain(_at(value, path)) for path in some if _at(value, path) is not None), None)
        for name, some in paths.items()
    }
    found |= _tags(value)
    if isinstance(value.get("category"), str):
        found["site"], found["ratings"] = sites.get(value["category"], (value["category"], "folder"))
    number = _at(value, "id")
    found["id"] = int(number) if isinstance(number, int | str) and re.fullmatch(r"-?\d{1,18}", str(number)) else None
    return found


def number_of(image: str) -> int:
    """Return the number that names a file, or else a number that its path alone decides."""
    stem = PurePosixPath(image).stem
    return int(stem) if stem.isascii() and stem.isdigit() and len(stem) <= 18 else number_of_path(image)


def number_of_path(image: str) -> int:
    """Return a number that a path alone decides."""
    return int.from_bytes(hashlib.blake2b(image.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big") >> 1


def _tags(value: dict[str, Any]) -> dict[str, list[str]]:
    """Collect tags by category; of a flat list what is in no category is general."""
    kinds: dict[str, list[str]] = {}
    for kind in KINDS:
        there = (_at(value, path) for path in (f"tags_{kind}", f"tag_string_{kind}", f"tags.{kind}"))
        words: Any = next((words for words in there if words is not None), [])
        kinds.setdefault(f"tags_{FOLDED.get(kind, kind)}", []).extend(_words(words))
    known = {word for words in kinds.values() for word in words}
    flat: Any = next((value[name] for name in ("tags", "tag_string") if isinstance(value.get(name), str | list)), [])
    kinds["tags_general"] += [word for word in _words(flat) if word not in known]
    return kinds


def _words(value: Any) -> list[str]:
    """Read a list, or a string with commas, or one with spaces."""
    if isinstance(value, str):
        value = from_text(value).get("tags_general", []) if "," in value else value.split()
    return [word for word in value if isinstance(word, str)]


@cache
def _table() -> tuple[Mapping[str, list[str]], Mapping[str, tuple[str, str]]]:
    table = tomllib.loads((files(__package__) / "sidecars.toml").read_text("utf-8"))
    sites = {name: (site, ratings) for name, (site, ratings) in table.pop("sites").items()}
    return MappingProxyType(table), MappingProxyType(sites)


def _at(value: Any, path: str) -> Any:
    for key in path.split("."):
        if isinstance(value, list) and key.isdigit():
            value = value[int(key)] if int(key) < len(value) else None
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


def _plain(value: Any) -> Any:
    return None if isinstance(value, dict | list) else value


def _frame(posts: list[dict[str, Any]]) -> pl.DataFrame:
    """Return posts as columns of text and lists of words."""
    names = list(dict.fromkeys(["id", *COLUMNS, *(name for each in posts for name in each)]))
    return pl.DataFrame([_series(name, [each.get(name) for each in posts]) for name in names])


def _series(name: str, values: list[Any]) -> pl.Series:
    if name == "id":
        return pl.Series(name, values, dtype=pl.Int64)
    if name.startswith("tags_"):
        return pl.Series(name, values, dtype=pl.List(pl.String))
    said: Callable[[Any], str | None] = lambda value: None if value is None else _said(value)  # noqa: E731
    return pl.Series(name, [said(value) for value in values], dtype=pl.String)


def _said(value: Any) -> str:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else json.dumps(value)
