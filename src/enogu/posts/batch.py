"""What a reader is asked and what it answers: posts in batches, still in their source's own words."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl


@dataclass(frozen=True)
class Skip:
    """Something that could not be used, and why."""

    at: str  # a line, a file, a post
    reason: str


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How a source is to be read."""

    scratch: Path  # a folder for what a reader must set aside; it outlives a killed import
    after: Any = None  # the mark of the last batch that is safe: go on behind it
    tags: Path | None = None  # a table of tags with their categories, for sources that give names alone
    columns: Mapping[str, str] | None = None  # our column: theirs, for sources of any shape


@dataclass(frozen=True)
class Batch:
    """Some posts, and what could not be read beside them."""

    raw: pl.DataFrame
    skipped: tuple[Skip, ...] = ()
    mark: Any = None  # where to go on behind this batch, as JSON; None: not before the next one that has a mark
    site: str = ""  # whose ids these are, in a source that holds several sites
    ratings: str = ""  # a table of ratings.toml, likewise
    tidy: bool = False  # its tags are lists of composed words already
