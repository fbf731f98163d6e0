"""The token report against counting each caption whole."""

import numpy as np
import pytest

from enogu.captions.caption import Word, text, written
from enogu.captions.rules import Rules
from enogu.captions.tokens import WINDOWS, counted
from enogu.core.networks.tokenizer import tokenize

WORDS = ("1girl", "blue hair", "^_^", "hatsune miku (vocaloid)", "don't", "jäger", "c++", "初音ミク", ":d", "year 2019")


@pytest.fixture(scope="module")
def posts():
    """Captions of 0 to 119 words, as (group, word) lists."""
    rng = np.random.default_rng(0)
    return [
        [Word(str(rng.choice(["general", "artist"])), str(rng.choice(WORDS))) for _ in range(number)]
        for number in range(120)
    ]


@pytest.mark.parametrize("limit", [0, 20])
def test_lengths_and_cuts_are_those_of_whole_captions(posts, limit):
    rules = Rules(limit=limit, priority=("artist",))
    said = [written(one, rules) for one in posts]
    found = counted(said, rules)
    texts = [text(one, rules) for one in said]
    lengths = [len(tokenize(one)) for one in texts]
    assert found["mean"] == pytest.approx(np.mean(lengths), abs=0.005)
    assert found["longest"] == max(lengths)
    assert sum(bar["posts"] for bar in found["histogram"]) == len(posts)
    for bar in found["histogram"]:
        assert bar["posts"] == sum(bar["from"] <= length < bar["to"] for length in lengths)
    for window, seen in zip(WINDOWS, found["windows"], strict=True):
        assert seen["posts_over"] == sum(length > window for length in lengths)
        cut = [word for one in texts for word in _beyond(one, window)]
        assert seen["words_cut"] == len(cut)
        assert sum(seen["groups_cut"].values()) == len(cut)
        assert seen["most_cut"] == {word: cut.count(word) for word in seen["most_cut"]}


def test_captions_of_no_words_have_no_tokens():
    found = counted([[], []], Rules())
    assert (found["mean"], found["longest"], found["histogram"]) == (0, 0, [{"from": 0, "to": 5, "posts": 2}])


def _beyond(caption, window):
    """The words of a caption whose last token, or comma, lies beyond a window."""
    words = caption.split(", ") if caption else []
    ends = [
        len(tokenize(", ".join(words[: place + 1]) + ("," if place + 1 < len(words) else "")))
        for place in range(len(words))
    ]
    return [word for word, end in zip(words, ends, strict=True) if end > window]
