"""The fold over processors: what chance may change, how often, and what it must leave alone."""

from collections import Counter

import numpy as np
import pytest

from enogu.captions.caption import Word, caption, written
from enogu.captions.caption import text as joined
from enogu.captions.rules import Level, Rules
from enogu.captions.sets import shuffled

POST = [
    Word("count", "1girl"),
    Word("character", "miku"),
    *(Word("general", f"tag {number}") for number in range(6)),
    Word("quality", "best quality"),
    Word("rating", "safe"),
]
WORDS = [word.text for word in POST]


def plain(said, rules):
    return joined(written(said, rules), rules)


def reads(rules, count=4000):
    rng = np.random.default_rng(0)
    return [caption(POST, rules, rng) for _ in range(count)]


def test_without_rules_the_words_stand_as_written():
    assert set(reads(Rules(), 5)) == {", ".join(WORDS)}


def test_shuffling_keeps_every_word_and_the_places_of_the_others():
    rules = Rules(shuffled=frozenset({"general", "quality"}))
    first = Counter()
    for text in reads(rules):
        words = text.split(", ")
        assert sorted(words) == sorted(WORDS)
        assert words[:2] == ["1girl", "miku"]
        assert words[-1] == "safe"
        first[words[2]] += 1
    assert len(first) == 7  # six tags and the quality word share seven places
    assert all(abs(count - 4000 / 7) < 4 * (4000 / 7 * 6 / 7) ** 0.5 for count in first.values())


def test_captions_are_dropped_at_their_rate():
    empty = sum(text == "" for text in reads(Rules(drop_caption=0.125)))
    assert abs(empty - 500) < 4 * (4000 * 0.125 * 0.875) ** 0.5


def test_words_are_dropped_at_their_rate_but_never_from_spared_groups():
    counts = Counter()
    for text in reads(Rules(drop_tags=0.3, never_drop=frozenset({"count", "rating"}))):
        words = text.split(", ")
        assert words == [word for word in WORDS if word in words]
        counts.update(words)
    assert counts["1girl"] == counts["safe"] == 4000
    for word in set(WORDS) - {"1girl", "safe"}:
        assert abs(counts[word] - 2800) < 4 * (4000 * 0.3 * 0.7) ** 0.5


def test_varied_dropout_gives_captions_of_every_length() -> None:
    lengths = [len(text.split(", ")) if text else 0 for text in reads(Rules(drop_tags=0.99, drop_varied=True))]
    most = max(lengths)
    shares = [sum(low <= length / most <= low + 0.34 for length in lengths) / len(lengths) for low in (0, 0.33, 0.66)]
    assert min(shares) > 0.2  # one fixed share would crowd around its mean


def test_a_limit_keeps_groups_by_priority_and_draws_within_one():
    rules = Rules(limit=5, priority=("count", "rating", "general"))
    counts = Counter()
    for text in reads(rules):
        words = text.split(", ")
        assert len(words) == 5
        assert words == [word for word in WORDS if word in words]
        assert {"1girl", "safe"} <= set(words)
        assert not {"miku", "best quality"} & set(words)
        counts.update(words)
    for number in range(6):
        assert abs(counts[f"tag {number}"] - 2000) < 4 * (4000 * 0.5 * 0.5) ** 0.5


def test_plain_takes_the_first_of_each_group_and_nothing_from_chance():
    rules = Rules(limit=4, priority=("count", "general"), drop_caption=0.99, drop_tags=0.99)
    assert plain(POST, rules) == "1girl, tag 0, tag 1, tag 2"
    assert plain(POST, Rules(shuffled=frozenset({"general"}))) == ", ".join(WORDS)


def test_a_limit_that_nothing_exceeds_changes_nothing():
    assert set(reads(Rules(limit=10, priority=("rating",)), 5)) == {", ".join(WORDS)}


@pytest.mark.parametrize(
    ("order", "after", "groups"),
    [
        (("count", "|||", "general", "year"), "|||", {"general", "year"}),
        (("count", "|||", "general", "|||", "year"), "|||", {"general"}),
        (("count", "artist", "general"), "count", {"artist", "general"}),
        (("count", "general"), "", set()),
    ],
)
def test_marks_say_what_is_shuffled(order, after, groups):
    assert shuffled(order, after) == groups


def test_levels_keep_their_share_of_words_and_spare_what_they_must():
    """Illustrious: 30 % of the reads keep max(30 % of n, 10) words, 20 % max(40 %, 15), 10 % six, 4 % four."""
    said = [Word("general", f"t{number}") for number in range(40)] + [Word("rating", "safe"), Word("general", "kept")]
    levels = (
        Level(share=0.3, keep=0.3, at_least=10),
        Level(share=0.2, keep=0.4, at_least=15),
        Level(share=0.1, at_least=6),
        Level(share=0.04, at_least=4),
    )
    rules = Rules(levels=levels, never_drop=frozenset({"rating"}), spared=frozenset({"kept"}))
    rng = np.random.default_rng(1)
    lengths, firsts = Counter(), Counter()
    for _ in range(4000):
        words = caption(said, rules, rng).split(", ")
        assert words[-2:] == ["safe", "kept"]
        lengths[len(words) - 2] += 1
        firsts.update(words[:-2])
    assert set(lengths) == {40, 12, 16, 6, 4}
    for length, share in ((12, 0.3), (16, 0.2), (6, 0.1), (4, 0.04), (40, 0.36)):
        assert abs(lengths[length] - 4000 * share) < 4 * (4000 * share * (1 - share)) ** 0.5
    share = (12 * 0.3 + 16 * 0.2 + 6 * 0.1 + 4 * 0.04) / 40 + 0.36  # which words stay is chance alone
    assert all(
        abs(firsts[f"t{number}"] - 4000 * share) < 5 * (4000 * share * (1 - share)) ** 0.5 for number in range(40)
    )


def test_groups_have_shares_of_their_own():
    rules = Rules(drop_tags=0.5, drop_groups={"character": 0.1, "quality": 1.0})
    counts = Counter(word for read in reads(rules) for word in read.split(", "))
    assert counts["best quality"] == 0
    assert abs(counts["miku"] - 3600) < 4 * (4000 * 0.1 * 0.9) ** 0.5
    assert abs(counts["tag 3"] - 2000) < 4 * (4000 * 0.25) ** 0.5


def test_a_budget_keeps_groups_by_priority_and_passes_what_is_too_long():
    said = [Word("general", "a", 5), Word("artist", "b", 3), Word("general", "c", 2), Word("character", "d", 9)]
    rules = Rules(budget=10, priority=("artist", "general"))
    assert plain(said, rules) == "a, b, c"
    assert plain(said, Rules(budget=9, priority=("character",))) == "d"
    assert plain(said, Rules(budget=4, priority=("character", "artist"))) == "b"
    assert plain(said, Rules(budget=19)) == "a, b, c, d"
    rng = np.random.default_rng(0)
    found = Counter(caption(said, Rules(budget=5, priority=("general",)), rng) for _ in range(2000))
    assert set(found) == {"a", "b, c"}  # after c there is room for b, which a leaves none for
    assert abs(found["a"] - 1000) < 4 * 500**0.5


def test_a_shuffler_of_its_own_moves_words_but_nothing_else():
    rules = Rules(shuffled=frozenset({"general"}), drop_tags=0.4)
    both = [caption(POST, rules, np.random.default_rng(3), shuffler=np.random.default_rng(seed)) for seed in (1, 2)]
    assert both[0] != both[1]
    assert sorted(both[0].split(", ")) == sorted(both[1].split(", "))
