"""The token report: how long captions are for CLIP, and what a window of 75, 150 or 225 tokens cuts off."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from enogu.captions.caption import Rules

WINDOWS = (75, 150, 225)  # tokens between start and end in one, two and three chunks of 77
BIN = 15  # tokens; divides every window
NAMED = 20  # words named in the list of what is cut

Tokenize = Callable[[str], list[int]]


def report(captions: pl.DataFrame, rules: Mapping[str, Rules], tokenize: Tokenize) -> dict[str, Any]:
    """Return, for each caption set, lengths and what is cut, read in the written order."""
    return {name: _of_set(captions.filter(pl.col("set") == name), rule, tokenize) for name, rule in rules.items()}


def _of_set(captions: pl.DataFrame, rules: Rules, tokenize: Tokenize) -> dict[str, Any]:
    words = counted(_limited(_long(captions), rules), tokenize)
    ends = words.group_by("post").agg(pl.col("end").max())
    lengths = captions.select("post").join(ends, on="post", how="left")["end"].fill_null(0).to_numpy()
    p5, p50, p95, longest = np.quantile(lengths, (0.05, 0.5, 0.95, 1.0), method="nearest").tolist()
    return {
        "posts": len(captions),
        "mean": round(float(lengths.mean()), 2),
        "p5": p5,
        "p50": p50,
        "p95": p95,
        "longest": longest,
        "histogram": _histogram(lengths),
        "windows": [_window(words, lengths, window) for window in WINDOWS],
    }


def counted(words: pl.DataFrame, tokenize: Tokenize) -> pl.DataFrame:
    """Add to each word (post, group, word; in order) the number of tokens up to its `end`, with its comma.

    CLIP's pattern never joins characters across a space, so that a caption's tokens are the sum of its words'.
    """
    vocabulary = words["word"].unique().to_list()
    costs = pl.DataFrame(
        {
            "word": pl.Series(vocabulary, dtype=pl.String),
            "alone": pl.Series([len(tokenize(word)) for word in vocabulary], dtype=pl.Int64),
            "with_comma": pl.Series([len(tokenize(word + ",")) for word in vocabulary], dtype=pl.Int64),
        }
    )
    last = pl.int_range(pl.len()).over("post") == pl.len().over("post") - 1
    cost = pl.when(last).then("alone").otherwise("with_comma")
    return words.join(costs, on="word", maintain_order="left").with_columns(end=cost.cum_sum().over("post"))


def _long(captions: pl.DataFrame) -> pl.DataFrame:
    rows = captions.select("post", "groups").explode("groups", empty_as_null=False).unnest("groups")
    return rows.explode("words", empty_as_null=False).rename({"name": "group", "words": "word"})


def _limited(words: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Keep what `caption.plain` keeps under a limit."""
    if not rules.limit:
        return words
    rank = pl.col("group").replace_strict(
        list(rules.priority), list(range(len(rules.priority))), default=len(rules.priority), return_dtype=pl.Int64
    )
    place = pl.int_range(pl.len(), dtype=pl.Int64)
    order = (rank * 1_000_000 + place.over("post")).rank("ordinal").over("post")
    return words.filter(order <= rules.limit)


def _histogram(lengths: np.ndarray) -> list[dict[str, int]]:
    bins, posts = np.unique(lengths // BIN, return_counts=True)
    return [
        {"from": number * BIN, "to": (number + 1) * BIN, "posts": count}
        for number, count in zip(bins.tolist(), posts.tolist(), strict=True)
    ]


def _window(words: pl.DataFrame, lengths: np.ndarray, window: int) -> dict[str, Any]:
    cut = words.filter(pl.col("end") > window)
    groups = cut["group"].value_counts(sort=True)
    named = cut["word"].value_counts(sort=True).sort("count", "word", descending=[True, False]).head(NAMED)
    return {
        "tokens": window,
        "posts_over": int((lengths > window).sum()),
        "share_over": round(float((lengths > window).mean()), 4),
        "words_cut": len(cut),
        "share_cut": round(len(cut) / max(1, len(words)), 4),
        "groups_cut": dict(groups.rows()),
        "most_cut": dict(named.rows()),
    }
