"""JSON that is not one post a line: arrays, {"posts": [...]}, one after another, decoded as they stream by."""

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from enogu.posts.packed import opened, pieces

BETWEEN = re.compile(r"[\s,\[\]}]*(?:\{\s*\"posts\"\s*:\s*\[[\s,]*)*")  # what stands between two posts
KEY = re.compile(r"[\s,{]*(\"(?:[^\"\\]|\\.)*\")\s*:\s*(?=\{)")  # of an object's next entry
AGAIN = re.compile(r"\{\s*\"id\"\s*:")  # where reading goes on behind what is broken
LONGEST = 16 << 20  # characters of one post


def pages(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield every post with its place; in the stead of a broken one, why it is none."""
    decoder, text, count = json.JSONDecoder(), "", 0
    for piece, fault in _texts(path):
        text += piece
        while text := text[BETWEEN.match(text).end() :]:  # type: ignore[union-attr]
            try:
                post, end = decoder.raw_decode(text)
            except (ValueError, RecursionError):
                if not fault and len(text) < LONGEST:
                    break  # the rest of it comes with the next piece
                again = AGAIN.search(text, 1)
                post, end = ("truncated" if again is None else "not JSON"), again.start() if again else len(text)
            count += 1
            yield f"post {count} of the file", _checked(post, text[:end])
            text = text[end:]
    if fault not in ("", "end"):
        yield "the end", fault


def entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the keys and values of one object; in the stead of what is broken, why nothing comes behind it."""
    decoder, text = json.JSONDecoder(), ""
    for piece, fault in _texts(path):
        text += piece
        while match := KEY.match(text):
            try:
                value, end = decoder.raw_decode(text, match.end())
            except (ValueError, RecursionError):
                break
            yield json.loads(match[1]), value if isinstance(value, dict) else "not an object"
            text = text[end:]
        if len(text) > LONGEST or (fault and text.strip(" \t\r\n,}{")):
            yield "the end", "truncated" if fault in ("", "end") else fault
            return


def _checked(post: Any, text: str) -> Any:
    if not isinstance(post, dict):
        return post if post in ("truncated", "not JSON") else "not an object"
    try:
        text.encode()
    except UnicodeEncodeError:  # a byte that was no UTF-8
        return "not UTF-8"
    return post


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    """Yield a file as text; with the last of it "end", or what is wrong."""
    decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
    first = True
    with opened(path) as handle:
        for piece in pieces(handle, 1 << 16):
            if isinstance(piece, str):
                yield "", piece
                return
            text = decode(piece)
            yield text.removeprefix("\ufeff") if first else text, ""
            first = False
    yield decode(b"", True), "end"
