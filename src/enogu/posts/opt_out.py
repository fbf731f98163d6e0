"""Posts whose makers do not want them used: the lists that keep them out."""

import re
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from enogu.core.records.errors import Refused

LIST = "opt-out.txt"  # in the work folder of a recipe: every posts stage there obeys it
LINE = re.compile(r"(?:(\S+)[\s/]+)?(\d+)")
Post = tuple[str, int]  # site, id; no site: any


def read_list(path: Path) -> set[Post]:
    """Read lines of an id, or of a site and an id; # begins a remark."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()  # some editors begin a file with a mark
    except UnicodeDecodeError as error:
        raise Refused(f"{path}: not a list of posts in UTF-8 (byte {error.start + 1}); save it as UTF-8") from error
    found = set()
    for number, line in enumerate(lines, 1):
        if text := line.partition("#")[0].strip():
            found.add(read_post(text, f"{path}, line {number}"))
    return found


def read_post(text: str, where: str) -> Post:
    """Read one post."""
    match = LINE.fullmatch(text)
    if match is None:
        raise Refused(f"{where}: {text!r} is no post; write an id, or a site and an id, as danbooru 123")
    return match[1] or "", int(match[2])


def opted_out(lists: Iterable[Path]) -> set[Post]:
    """Return the posts of all lists that are there."""
    return set().union(*(read_list(path) for path in lists if path.exists()))


def named(posts: Iterable[Post]) -> pl.Expr:
    """Return the expression that is true for a listed post."""
    by_site: dict[str, list[int]] = {}
    for site, number in posts:
        by_site.setdefault(site, []).append(number)
    each = (pl.col("id").is_in(ids) & ((pl.col("source") == site) | (site == "")) for site, ids in by_site.items())
    return pl.any_horizontal(False, *each).fill_null(False)


def written(posts: Iterable[Post]) -> bytes:
    """Write posts as lines of a list."""
    return "".join(f"{site} {number}".strip() + "\n" for site, number in sorted(posts)).encode()
