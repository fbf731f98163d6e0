"""The token report: how long captions are for CLIP, and what a window of 75, 150 or 225 tokens cuts off."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enogu.captions.caption import Said, Word
from enogu.captions.reading import Reader
from enogu.captions.rules import Rules
from enogu.core.networks.tokenizer import tokenize
from enogu.core.records.progress import Progress, silent
from enogu.core.records.seed import generator

WINDOWS = (75, 150, 225)  # tokens between start and end in one, two and three chunks of 77
BIN = 5  # tokens; divides every window
NAMED = 20  # words named in the list of what is cut
LONGEST_NAMED = 60  # characters; a longer one is named by its group
SAMPLE = 20_000  # posts counted; of more, a sample, which tells a share to within 0.7 percent

Ints = NDArray[np.int64]


def report(captions: Reader, seed: int, progress: Progress = silent) -> dict[str, Any]:
    """Return, for each caption set, lengths and what is cut, read in the written order."""
    posts = captions.posts
    if len(posts) > SAMPLE:
        chosen = generator(seed, "token report").choice(len(posts), SAMPLE, replace=False)
        posts = posts[np.sort(chosen)]
    found = {}
    for number, (name, rules) in enumerate(captions.sets.items()):
        said = (captions.written(post, name) for post in posts.tolist())
        found[name] = {"of": len(captions.posts), **counted(said, rules)}
        progress(number + 1, len(captions.sets), "token reports")
    return found


def counted(captions: Iterable[Said], rules: Rules, windows: Sequence[int] = WINDOWS) -> dict[str, Any]:
    """Return the lengths of captions, and what each window cuts off."""
    flat = _flat(captions, rules)
    lengths = np.bincount(flat.rows, flat.costs, minlength=flat.captions).astype(np.int64)
    every = lengths if len(lengths) else np.zeros(1, np.int64)
    p5, p50, p95, longest = np.quantile(every, (0.05, 0.5, 0.95, 1.0), method="nearest").tolist()
    return {
        "posts": flat.captions,
        "mean": round(float(every.mean()), 2),
        "p5": p5,
        "p50": p50,
        "p95": p95,
        "longest": longest,
        "histogram": _histogram(lengths),
        "windows": [_window(flat, lengths, window) for window in windows],
    }


def token_ends(words: Sequence[str], separator: str = ", ") -> list[int]:
    """Return the number of tokens of a caption up to the end of each word, with the separator that follows it.

    CLIP's pattern never joins characters across a space, so that a caption's tokens are the sum of its words'.
    """
    last = len(words) - 1
    parts = (word if place == last else word + separator for place, word in enumerate(words))
    return list(accumulate(len(tokenize(part)) for part in parts))


@dataclass(frozen=True)
class Flat:
    """Captions one after another, a row of numbers per word."""

    captions: int
    vocabulary: list[Word]
    rows: Ints  # which caption
    words: Ints  # which of the vocabulary
    costs: Ints  # tokens, with the separator that follows
    ranks: Ints  # of the word's group, by priority

    def ends(self, order: Ints) -> Ints:
        """Return for each word the tokens of its caption up to its end, were the words in an order (row by row)."""
        total = np.cumsum(self.costs[order])
        begins = np.searchsorted(self.rows[order], np.arange(self.captions))
        before = np.concatenate([[0], total])[begins]
        found = np.empty_like(total)
        found[order] = total - before[self.rows[order]]
        return found


def _flat(captions: Iterable[Said], rules: Rules) -> Flat:
    known: dict[Word, int] = {}
    words, sizes = list[int](), list[int]()
    for said in captions:
        words += [known.setdefault(word, len(known)) for word in said]
        sizes.append(len(said))
    alone, joined = (
        np.array([len(tokenize(word.text + after)) for word in known], dtype=np.int64)
        for after in ("", rules.separator)
    )
    places, counts = np.array(words, dtype=np.int64), np.array(sizes, dtype=np.int64)
    last = np.zeros(len(places), dtype=bool)
    last[np.cumsum(counts)[counts > 0] - 1] = True
    rank = {group: number for number, group in enumerate(rules.priority)}
    ranks = np.array([rank.get(word.group, len(rank)) for word in known], dtype=np.int64)
    costs = np.where(last, alone[places], joined[places]) if len(places) else places
    return Flat(len(sizes), list(known), np.repeat(np.arange(len(sizes)), counts), places, costs, ranks[places])


def _window(flat: Flat, lengths: Ints, window: int) -> dict[str, Any]:
    """Return what a window cuts off; by priority, as `budget` would do it, other words go over the edge."""
    by_place = np.arange(len(flat.rows))
    cut = flat.words[flat.ends(by_place) > window]
    by_priority = np.lexsort((by_place, flat.ranks, flat.rows))
    lost = flat.words[(flat.ends(by_priority) > window) & (lengths[flat.rows] > window)]
    named = sorted(_counted(flat, cut, _name).items(), key=lambda entry: (-entry[1], entry[0]))
    return {
        "tokens": window,
        "posts_over": int((lengths > window).sum()),
        "share_over": round(float((lengths > window).mean()), 4) if len(lengths) else 0.0,
        "words_cut": len(cut),
        "share_cut": round(len(cut) / max(1, len(flat.words)), 4),
        "groups_cut": dict(_counted(flat, cut, _group).most_common()),
        "most_cut": dict(named[:NAMED]),
        "groups_cut_by_priority": dict(_counted(flat, lost, _group).most_common()),
    }


def _counted(flat: Flat, words: Ints, name: Callable[[Word], str]) -> Counter[str]:
    found = Counter[str]()
    for word, number in zip(*np.unique(words, return_counts=True), strict=True):
        found[name(flat.vocabulary[word])] += int(number)
    return found


def _name(word: Word) -> str:
    return word.text if len(word.text) <= LONGEST_NAMED else f"({word.group})"


def _group(word: Word) -> str:
    return word.group


def _histogram(lengths: Ints) -> list[dict[str, int]]:
    bins, posts = np.unique(lengths // BIN, return_counts=True)
    return [
        {"from": number * BIN, "to": (number + 1) * BIN, "posts": count}
        for number, count in zip(bins.tolist(), posts.tolist(), strict=True)
    ]
