"""Posts as JSON: one a line (read by Polars at once), or pages of an API, one array or {"posts": [...]} after another.

A block of lines that Polars refuses is read line by line, and what is no post is named by its line. A post that
its site withholds has no md5 or no URL; it gets no image path, and none is ever guessed.
"""

import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from enogu.core.records.errors import Refused
from enogu.posts.batch import Asked, Batch, Skip
from enogu.posts.blueprints import Blueprint, by_category, by_hand, fitting
from enogu.posts.categories import sorted_tags, tag_table
from enogu.posts.packed import Block, blocks, head
from enogu.posts.pages import pages

PEEK = 1 << 20  # bytes in which the first post must end
LOOKED_AT = 100  # posts, to find one that shows its blueprint
PAGED = 20_000  # posts of pages in one batch
PAGE = re.compile(rb"\s*(\[|\{\s*(\n|\"posts\"\s*:\s*\[))")  # how a page begins, and a line does not
MARK = b"\xef\xbb\xbf"  # of UTF-8, which some editors write


def first_posts(path: Path) -> list[dict[str, Any]]:
    """Return some posts of the beginning of a file, if they are JSON at all."""
    text = head(path, PEEK)
    paged = PAGE.match(text.removeprefix(MARK))
    found = (post for _, post in pages(path)) if paged else map(parsed, text.splitlines())
    return [post for post in islice(found, LOOKED_AT) if isinstance(post, dict)]


def blueprint_of(path: Path, names: tuple[str, ...]) -> Blueprint | None:
    """Return the blueprint of a file: that of the first post which has one."""
    return next(filter(None, (fitting(post, names) for post in first_posts(path))), None)


def seen(path: Path) -> str:
    """Say what a file's first post is like."""
    if posts := first_posts(path):
        return f"its first post has {', '.join(list(posts[0])[:12])}"
    line = next(iter(head(path, PEEK).splitlines()), b"")
    return f"its first line is {parsed(line)}" if isinstance(parsed(line), str) else "it holds no post"


def fits(*names: str) -> Callable[[Path], bool]:
    """Return the function that tells whether a file's first post has one of some blueprints."""
    return lambda path: blueprint_of(path, names) is not None


def reader(*names: str) -> Callable[[Path, Asked], Iterator[Batch]]:
    """Return the function that reads posts of some blueprints."""

    def read(source: Path, asked: Asked) -> Iterator[Batch]:
        form = Form(source, names, asked)
        if PAGE.match(head(source, PEEK).removeprefix(MARK)):
            return _paged(source, form, asked.after or 0)
        return _lines(source, form, asked.after or [0, 0])

    return read


class Form:
    """What a file's posts look like: its blueprint, the others that may turn up, the table of its tags."""

    def __init__(self, source: Path, names: tuple[str, ...], asked: Asked) -> None:
        """Look at the first post, and read the table of tags where posts give names alone."""
        blueprint = blueprint_of(source, names)
        if blueprint is None:
            raise Refused(f"posts.source: {source} has no post in the form of {' or '.join(names)}")
        self.blueprint, self.names = blueprint, names
        self.table = tag_table(asked.tags, blueprint.numbers) if asked.tags and blueprint.numbers else None

    def batch(self, frame: pl.DataFrame, blueprint: Blueprint, *, skipped: tuple[Skip, ...], mark: Any) -> Batch:
        """Bring what was read into columns of ours."""
        columns = blueprint.columns(frame)
        if "tags" in columns.columns:
            named = columns.schema["tags"] not in (pl.String, pl.List(pl.String))
            columns = by_category(columns, blueprint.numbers) if named else sorted_tags(columns, self.table)
        return Batch(columns, skipped, mark, ratings=blueprint.ratings)

    def by_hand(self, posts: list[tuple[str, Any]], skipped: list[Skip], mark: Any) -> Iterator[Batch]:
        """Yield parsed posts by their blueprints; what is no post is skipped."""
        found: dict[str, tuple[Blueprint, list[dict[str, Any]]]] = {self.blueprint.name: (self.blueprint, [])}
        for at, post in posts:
            if reason := _unfit(post):
                skipped.append(Skip(at, reason))
            else:
                blueprint = fitting(post, self.names) or self.blueprint
                found.setdefault(blueprint.name, (blueprint, []))[1].append(post)
        *others, last = reversed(found.values())
        for blueprint, some in others:
            yield self.batch(by_hand(some, blueprint), blueprint, skipped=(), mark=None)
        blueprint, some = last
        yield self.batch(by_hand(some, blueprint), blueprint, skipped=tuple(skipped), mark=mark)


def _lines(source: Path, form: Form, after: list[int]) -> Iterator[Batch]:
    start, number = after
    for block in blocks(source, start):
        text = block.text.removeprefix(MARK) if number == 0 else block.text
        count = text.count(b"\n") + (not text.endswith(b"\n") and bool(text))
        mark = [block.end, number + count]
        frame = None if block.fault else _at_once(text, count, form.blueprint)
        if frame is not None:
            yield form.batch(frame, form.blueprint, skipped=(), mark=mark)
        else:
            yield from _by_line(Block(text, block.end, block.fault), form, number=number, mark=mark)
        number += count


def _at_once(text: bytes, count: int, blueprint: Blueprint) -> pl.DataFrame | None:
    """Read lines that are all posts; None where they are not."""
    try:
        frame = pl.read_ndjson(text, schema=blueprint.schema)
    except pl.exceptions.PolarsError:
        return None
    ids = frame["id"].cast(pl.Int64, strict=False)
    whole = len(frame) == count and not ids.null_count() and blueprint.fits_all(frame)
    return frame if whole else None


def _by_line(block: Block, form: Form, *, number: int, mark: Any) -> Iterator[Batch]:
    lines = block.text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    posts = [(f"line {number + place}", parsed(line)) for place, line in enumerate(lines, start=1)]
    skipped = [Skip(f"line {number + len(lines)}", block.fault)] if block.fault else []
    if block.fault and posts and isinstance(posts[-1][1], str):
        posts.pop()
    yield from form.by_hand(posts, skipped, mark)


def _paged(source: Path, form: Form, after: int) -> Iterator[Batch]:
    posts = islice(pages(source), after, None)
    while chunk := list(islice(posts, PAGED)):
        after += len(chunk)
        yield from form.by_hand(chunk, [], after)


def parsed(line: bytes) -> dict[str, Any] | str:
    """Return the object of a line, or in a short word or two why there is none."""
    try:
        value = json.loads(line.decode("utf-8"))
        return value if isinstance(value, dict) else "not an object"
    except UnicodeDecodeError:
        return "not UTF-8"
    except (ValueError, RecursionError):
        return "not JSON" if line.strip() else "empty line"


def _unfit(post: Any) -> str:
    if isinstance(post, str):
        return post
    number = post.get("id")
    whole = type(number) is int or (isinstance(number, str) and number.removeprefix("-").isdecimal())
    return "" if whole and -(2**63) <= int(number) < 2**63 else "no id"
