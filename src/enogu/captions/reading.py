"""Captions at training time: what is left to chance follows from (seed, epoch, post) and from nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from enogu.captions.caption import Rules, Said, caption, plain
from enogu.core.records.errors import Refused, unknown
from enogu.core.records.files import read_json
from enogu.core.records.seed import generator


def reader(folder: Path, seed: int) -> "Reader":
    """Open a captions folder for reading with a seed."""
    rules = {name: _rules(raw) for name, raw in read_json(folder / "captions.json")["sets"].items()}
    frame = pl.read_parquet(folder / "captions.parquet")
    return Reader({name: (words_of(frame, name), rules[name]) for name in rules}, seed)


@dataclass(frozen=True)
class Words:
    """The words of one caption set, packed: numbers into two vocabularies, one stretch per post."""

    posts: np.ndarray  # (N,) int64, ascending
    starts: np.ndarray  # (N + 1,) where each post's words start
    words: np.ndarray  # (W,) uint32
    groups: np.ndarray  # (W,) uint8
    vocabulary: list[str]
    names: list[str]

    def said(self, post: int) -> Said:
        """Return the words of a post with their groups, in order."""
        row = int(np.searchsorted(self.posts, post))
        if row == len(self.posts) or self.posts[row] != post:
            raise Refused(f"post {post} has no caption here: were captions and latents made from the same posts?")
        span = slice(self.starts[row], self.starts[row + 1])
        pairs = zip(self.groups[span].tolist(), self.words[span].tolist(), strict=True)
        return [(self.names[group], self.vocabulary[word]) for group, word in pairs]


class Reader:
    """Reads captions by post; the same for any number of workers and after any resume."""

    def __init__(self, sets: Mapping[str, tuple[Words, Rules]], seed: int) -> None:
        """Keep the sets by name."""
        self._sets = sets
        self._seed = seed

    def caption(self, post: int, *, epoch: int, set: str = "tags") -> str:
        """Return what the model reads for a post in an epoch."""
        words, rules = self._of(set)
        return caption(words.said(post), rules, generator(self._seed, "caption", epoch, post))

    def plain(self, post: int, set: str = "tags") -> str:
        """Return a post's caption in its written order, with nothing dropped."""
        words, rules = self._of(set)
        return plain(words.said(post), rules)

    def _of(self, name: str) -> tuple[Words, Rules]:
        if name not in self._sets:
            raise unknown("caption set", name, self._sets)
        return self._sets[name]


def words_of(captions: pl.DataFrame, name: str) -> Words:
    """Pack the words of one set of a captions record."""
    rows = captions.filter(pl.col("set") == name).sort("post").with_row_index("row")
    long = rows.explode("groups", empty_as_null=False).unnest("groups").explode("words", empty_as_null=False)
    vocabulary, names = long["words"].unique().sort(), long["name"].unique().sort()
    return Words(
        posts=rows["post"].to_numpy(),
        starts=np.searchsorted(long["row"].to_numpy(), np.arange(len(rows) + 1)),
        words=(long["words"].rank("dense") - 1).cast(pl.UInt32).to_numpy(),
        groups=(long["name"].rank("dense") - 1).cast(pl.UInt8).to_numpy(),
        vocabulary=vocabulary.to_list(),
        names=names.to_list(),
    )


def _rules(raw: Mapping[str, Any]) -> Rules:
    lists = {"shuffled": frozenset, "never_drop": frozenset, "priority": tuple}
    return Rules(**{name: lists[name](value) if name in lists else value for name, value in raw.items()})
