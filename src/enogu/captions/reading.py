"""Captions at training time: what is left to chance follows from (seed, epoch, post) and from nothing else."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from enogu.captions.caption import Said, Word, drawn, text, written
from enogu.captions.lexicon import TEXT
from enogu.captions.ragged import Ragged
from enogu.captions.record import sentences
from enogu.captions.rules import Rules, from_plain
from enogu.core.networks.tokenizer import tokenize
from enogu.core.records.errors import Refused, unknown
from enogu.core.records.files import read_json
from enogu.core.records.seed import generator

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def reader(folder: Path, seed: int) -> "Reader":
    """Open a captions folder for reading with a seed."""
    described = read_json(folder / "captions.json")
    vocabulary = pl.read_parquet(folder / "packed" / "vocabulary.parquet")
    texts = {group: Ragged(folder / "packed" / group) for group in described["texts"]}
    words = Ragged(folder / "packed" / "words")
    spelt = [Word(*row) for row in vocabulary.select("group", "text").rows()]
    sets = {name: _view(spelt, from_plain(raw), list(described["groups"])) for name, raw in described["sets"].items()}
    return Reader(folder, seed, words, texts=texts, sets=sets)


@dataclass(frozen=True)
class View:
    """How a set sees the vocabulary: the words by number, and the rank of each word's group in its order."""

    rules: Rules
    words: list[Word]
    ranks: list[int]  # of the word's group in `order`, -1 where the set does not say it
    fallback: list[int]
    whole: bool  # every word is said, and is stored in this order


class Reader:
    """Reads captions by post; the same for any number of workers and after any resume."""

    def __init__(
        self, folder: Path, seed: int, words: Ragged, *, texts: Mapping[str, Ragged], sets: Mapping[str, View]
    ) -> None:
        """Keep what `reader` opened."""
        self._folder, self._seed = folder, seed
        self._words, self._texts, self._sets = words, texts, sets

    def __reduce__(self) -> tuple[Any, ...]:
        """Let each worker map the files for itself."""
        return reader, (self._folder, self._seed)

    @property
    def posts(self) -> NDArray[np.int64]:
        """Return the ids of all posts, ascending."""
        return self._words.keys

    @property
    def sets(self) -> Mapping[str, Rules]:
        """Return the rules of the caption sets by name."""
        return {name: view.rules for name, view in self._sets.items()}

    @property
    def text_groups(self) -> frozenset[str]:
        """Return the groups whose words are sentences."""
        return frozenset(self._texts)

    def caption(self, post: int, *, epoch: int, set: str = "tags") -> str:
        """Return what the model reads for a post in an epoch."""
        return text(self.drawn(post, epoch=epoch, set=set), self._of(set).rules)

    def drawn(self, post: int, *, epoch: int, set: str = "tags") -> Said:
        """Return the words of that caption with their groups."""
        view, rng = self._of(set), generator(self._seed, "caption", epoch, post)
        every = view.rules.shuffle_every
        shuffler = generator(self._seed, "caption order", epoch // every, post) if every > 1 else None
        return drawn(self._said(view, post), view.rules, rng, shuffler=shuffler)

    def plain(self, post: int, set: str = "tags") -> str:
        """Return a post's caption in its written order, with nothing dropped."""
        return text(self.written(post, set), self._of(set).rules)

    def written(self, post: int, set: str = "tags") -> Said:
        """Return the words of that caption with their groups."""
        view = self._of(set)
        return written(self._said(view, post), view.rules)

    def _said(self, view: View, post: int) -> Said:
        row = self._words.row(post)
        if row is None:
            raise Refused(f"post {post} has no caption here: were captions and latents made from the same posts?")
        numbers = row.tolist()
        if not view.whole:
            numbers = _ordered(numbers, view.ranks) or _ordered(numbers, view.fallback)
        said = [view.words[number] for number in numbers]
        if self._texts:
            said = [self._told(word, view.rules, post) if word.text == TEXT else word for word in said]
            said = [word for word in said if word.text]
        return said

    def _told(self, word: Word, rules: Rules, post: int) -> Word:
        told = sentences(self._texts[word.group], post)
        if rules.text_budget:
            told = shortened(told, rules.text_budget)
        return word._replace(text=told, tokens=cost(told, rules) if rules.budget else 0)

    def _of(self, name: str) -> View:
        if name not in self._sets:
            raise unknown("caption set", name, self._sets)
        return self._sets[name]


def shortened(text: str, budget: int) -> str:
    """Return as many of the first sentences of a text as fit into a number of tokens."""
    kept: list[str] = []
    for sentence in SENTENCE_END.split(text):
        budget -= len(tokenize(sentence))
        if budget < 0:
            break
        kept.append(sentence)
    return " ".join(kept)


def cost(text: str, rules: Rules) -> int:
    """Return the tokens of a word and of the separator after it.

    CLIP's pattern never joins characters across a space, so that a caption's tokens are the sum of its words'.
    """
    return len(tokenize(text + rules.separator))


def _view(words: list[Word], rules: Rules, stored: list[str]) -> View:
    if rules.budget:
        words = [word._replace(tokens=cost(word.text, rules)) for word in words]
    ranks, fallback = (_ranks(words, order) for order in (rules.order, rules.fallback))
    return View(rules, words, ranks, fallback, whole=list(rules.order) == stored)


def _ranks(words: list[Word], order: tuple[str, ...]) -> list[int]:
    rank = {group: number for number, group in enumerate(order)}
    return [rank.get(word.group, -1) for word in words]


def _ordered(numbers: list[int], ranks: list[int]) -> list[int]:
    return sorted((number for number in numbers if ranks[number] >= 0), key=ranks.__getitem__)
