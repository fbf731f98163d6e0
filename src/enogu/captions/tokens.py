"""The token report: how long captions are for CLIP, and what a window of 75, 150 or 225 tokens cuts off."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np

from enogu.captions.caption import Said, kept
from enogu.captions.reading import Reader
from enogu.captions.rules import Rules
from enogu.core.networks.tokenizer import tokenize
from enogu.core.records.progress import Progress, silent
from enogu.core.records.seed import generator

WINDOWS = (75, 150, 225)  # tokens between start and end in one, two and three chunks of 77
BIN = 15  # tokens; divides every window
NAMED = 20  # words named in the list of what is cut
SAMPLE = 50_000  # posts counted; of more, a sample, which tells a share to within half a percent
REMEMBERED = 1 << 18  # words whose tokens are remembered
LONGEST_REMEMBERED = 60  # characters; sentences rarely come twice


@dataclass
class Cut:
    """What a window cuts off, by place and, for comparison, by the priority of groups."""

    window: int
    posts: int = 0
    words: Counter[str] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)
    groups_by_priority: Counter[str] = field(default_factory=Counter)

    def add(self, said: Said, ends: list[int], rules: Rules) -> None:
        """Count one caption that is longer than the window."""
        self.posts += 1
        for word, end in zip(said, ends, strict=True):
            if end > self.window:
                self.words[word.text if len(word.text) <= LONGEST_REMEMBERED else f"({word.group})"] += 1
                self.groups[word.group] += 1
        costs = [end - start for start, end in zip([0, *ends], ends, strict=False)]
        priced = [word._replace(tokens=cost) for word, cost in zip(said, costs, strict=True)]
        left = Counter(
            word.group for word in kept(priced, replace(rules, limit=0, budget=self.window), range(len(said)))
        )
        self.groups_by_priority += Counter(word.group for word in said) - left

    def told(self, posts: int, words: int) -> dict[str, Any]:
        """Return the figures."""
        cut = sum(self.words.values())
        named = sorted(self.words.items(), key=lambda entry: (-entry[1], entry[0]))[:NAMED]
        return {
            "tokens": self.window,
            "posts_over": self.posts,
            "share_over": round(self.posts / max(1, posts), 4),
            "words_cut": cut,
            "share_cut": round(cut / max(1, words), 4),
            "groups_cut": dict(self.groups.most_common()),
            "most_cut": dict(named),
            "groups_cut_by_priority": dict(self.groups_by_priority.most_common()),
        }


def report(captions: Reader, seed: int, progress: Progress = silent) -> dict[str, Any]:
    """Return, for each caption set, lengths and what is cut, read in the written order."""
    posts = captions.posts
    if len(posts) > SAMPLE:
        chosen = generator(seed, "token report").choice(len(posts), SAMPLE, replace=False)
        posts = posts[np.sort(chosen)]
    found = {}
    for number, (name, rules) in enumerate(captions.sets.items()):
        found[name] = {
            "of": len(captions.posts),
            **counted((captions.written(post, name) for post in posts.tolist()), rules),
        }
        progress(number + 1, len(captions.sets), "token reports")
    return found


def counted(captions: Iterable[Said], rules: Rules, windows: Sequence[int] = WINDOWS) -> dict[str, Any]:
    """Return the lengths of captions, and what each window cuts off."""
    cuts, lengths, words = [Cut(window) for window in windows], list[int](), 0
    for said in captions:
        ends = token_ends([word.text for word in said], rules.separator)
        lengths.append(ends[-1] if ends else 0)
        words += len(said)
        for cut in cuts:
            if lengths[-1] > cut.window:
                cut.add(said, ends, rules)
    tokens = np.array(lengths or [0])
    p5, p50, p95, longest = np.quantile(tokens, (0.05, 0.5, 0.95, 1.0), method="nearest").tolist()
    return {
        "posts": len(lengths),
        "mean": round(float(tokens.mean()), 2),
        "p5": p5,
        "p50": p50,
        "p95": p95,
        "longest": longest,
        "histogram": _histogram(tokens),
        "windows": [cut.told(len(lengths), words) for cut in cuts],
    }


def token_ends(words: Sequence[str], separator: str = ", ") -> list[int]:
    """Return the number of tokens of a caption up to the end of each word, with the separator that follows it.

    CLIP's pattern never joins characters across a space, so that a caption's tokens are the sum of its words'.
    """
    last = len(words) - 1
    return list(accumulate(_tokens(word if place == last else word + separator) for place, word in enumerate(words)))


def _tokens(text: str) -> int:
    return _remembered(text) if len(text) <= LONGEST_REMEMBERED else len(tokenize(text))


@lru_cache(maxsize=REMEMBERED)
def _remembered(text: str) -> int:
    return len(tokenize(text))


def _histogram(lengths: np.ndarray) -> list[dict[str, int]]:
    bins, posts = np.unique(lengths // BIN, return_counts=True)
    return [
        {"from": number * BIN, "to": (number + 1) * BIN, "posts": count}
        for number, count in zip(bins.tolist(), posts.tolist(), strict=True)
    ]
