"""Answers as they come: one line per answer in `answers.jsonl`, each checked against its schema, lost by no kill."""

import json
import os
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import polars as pl

from enogu.captions.nl.schema import fault, published

TAIL = 16 << 20  # bytes; no line is longer, because program.py takes none of more than a megabyte
SHOWN = 200  # characters of an answer that is not one
ROWS = 100_000
SCHEMA = {"post": pl.Int64, "text": pl.String, "fault": pl.String}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was said of a post, or what is wrong with it; `post` is None where nobody can tell of which."""

    post: int | None
    text: str = ""
    fault: str = ""


def parsed(line: bytes, asked: Set[int]) -> Answer:
    """Read one line of a program that was asked about some posts."""
    shown = line.decode("utf-8", "replace")[:SHOWN]
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return Answer(post=None, text=shown, fault="no JSON")
    if wrong := fault(value, published("answer")):
        return Answer(post=None, text=shown, fault=f"not by the schema: {wrong}")
    if value["post"] not in asked:
        return Answer(post=None, text=shown, fault="of a post that was not asked about, or twice")
    return Answer(post=value["post"], text=value["text"].encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


class Journal:
    """The file of answers, open to be added to."""

    def __init__(self, path: Path) -> None:
        """Open it, without the half line that a kill may have left."""
        self.path = path
        if path.exists():
            with path.open("rb") as handle:
                start = handle.seek(max(0, path.stat().st_size - TAIL))
                os.truncate(path, start + handle.read().rfind(b"\n") + 1)
        self._handle: IO[bytes] = path.open("ab")

    def __enter__(self) -> "Journal":
        """Be closed at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._handle.close()

    def add(self, answer: Answer) -> None:
        """Keep an answer; it is out of this process at once."""
        row: dict[str, Any] = {name: getattr(answer, name) for name in SCHEMA}
        self._handle.write(json.dumps(row).encode() + b"\n")
        self._handle.flush()

    def sync(self) -> None:
        """Bring all of it to the disk."""
        os.fsync(self._handle.fileno())

    def posts(self) -> pl.Series:
        """Return the posts that need not be asked about again."""
        found = [batch["post"] for batch in self.batches(ROWS)]
        return pl.concat(found).drop_nulls() if found else pl.Series(dtype=pl.Int64)

    def batches(self, size: int) -> Iterator[pl.DataFrame]:
        """Yield everything in order, as (post, text, fault)."""
        if self.path.stat().st_size:
            yield from pl.scan_ndjson(self.path, schema=SCHEMA).collect_batches(chunk_size=size, maintain_order=True)
