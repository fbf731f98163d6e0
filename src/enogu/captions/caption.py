"""What the model reads this time: `caption(post, rules, rng) -> text`, a fold over small processors."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from numpy.random import Generator

from enogu.captions.rules import Rules


class Word(NamedTuple):
    """What is said as one: a tag, a quality word, or all sentences of a text."""

    group: str
    text: str
    tokens: int = 0  # for CLIP, with the separator; counted only where there is a budget


Said = list[Word]  # in order
Processor = Callable[[Said, Rules, Generator], Said]


def caption(post: Said, rules: Rules, rng: Generator, *, shuffler: Generator | None = None) -> str:
    """Return the caption of a post as one read of it gives."""
    return text(drawn(post, rules, rng, shuffler=shuffler), rules)


def drawn(post: Said, rules: Rules, rng: Generator, *, shuffler: Generator | None = None) -> Said:
    """Return what one read says, in order; `shuffler` where shuffling keeps a time of its own."""
    for process in PROCESSORS:
        post = process(post, rules, rng)
    return shuffle(post, rules, shuffler or rng)


def written(post: Said, rules: Rules) -> Said:
    """Return what is said with nothing left to chance: under a limit the first words of each group stay."""
    return kept(post, rules, range(len(post)))


def text(post: Said, rules: Rules) -> str:
    """Return words as a caption."""
    return rules.separator.join([word.text for word in post])


def drop_caption(post: Said, rules: Rules, rng: Generator) -> Said:
    """Say nothing, for classifier-free guidance (Ho and Salimans 2022, algorithm 1)."""
    return [] if rng.random() < rules.drop_caption else post


def drop_words(post: Said, rules: Rules, rng: Generator) -> Said:
    """Keep as many words as the level of this read says; at no level, drop each word by its share."""
    if rules.levels:
        drawn = rng.random()
        for level in rules.levels:
            drawn -= level.share
            if drawn < 0:
                return _at_level(post, rules, rng, keep=level.keep, at_least=level.at_least)
    return drop_tags(post, rules, rng)


def drop_tags(post: Said, rules: Rules, rng: Generator) -> Said:
    """Leave each word out with one probability, except in groups that must always be said.

    Varied, each read draws the probability anew, up to `drop_tags`: captions of all lengths teach short prompts.
    """
    if not rules.drop_tags and not rules.drop_groups:
        return post
    share = rules.drop_tags * (rng.random() if rules.drop_varied else 1.0)
    draws = rng.random(len(post)).tolist()
    own = rules.drop_groups
    return [
        word
        for word, draw in zip(post, draws, strict=True)
        if draw >= own.get(word.group, share) or word.group in rules.never_drop or word.text in rules.spared
    ]


def at_most(post: Said, rules: Rules, rng: Generator) -> Said:
    """Keep what a limit of words or a budget of tokens allows: by priority of groups, within a group by chance."""
    return kept(post, rules, rng.permutation(len(post)).tolist()) if rules.limit or rules.budget else post


def shuffle(post: Said, rules: Rules, rng: Generator) -> Said:
    """Change the places of the words of shuffled groups among themselves."""
    places = [place for place, word in enumerate(post) if word.group in rules.shuffled]
    mixed = list(post)
    for place, other in zip(places, rng.permutation(len(places)).tolist(), strict=True):
        mixed[place] = post[places[other]]
    return mixed


PROCESSORS: tuple[Processor, ...] = (drop_caption, drop_words, at_most)


def kept(post: Said, rules: Rules, draws: Sequence[int]) -> Said:
    """Return the words that a limit and a budget leave: first by priority, then by draw; a word too long is passed."""
    if not 0 < rules.limit < len(post) and not 0 < rules.budget < sum(word.tokens for word in post):
        return post
    rank = {group: number for number, group in enumerate(rules.priority)}
    order = sorted(range(len(post)), key=lambda place: (rank.get(post[place].group, len(rank)), draws[place]))
    left = rules.budget or float("inf")
    chosen: list[int] = []
    for place in order:
        if rules.limit and len(chosen) == rules.limit:
            break
        if post[place].tokens <= left:
            left -= post[place].tokens
            chosen.append(place)
    return [post[place] for place in sorted(chosen)]


def _at_level(post: Said, rules: Rules, rng: Generator, *, keep: float, at_least: int) -> Said:
    free = [n for n, word in enumerate(post) if word.group not in rules.never_drop and word.text not in rules.spared]
    number = max(round(keep * len(free)), at_least)
    gone = set(rng.permutation(len(free))[number:].tolist())
    lost = {place for number, place in enumerate(free) if number in gone}
    return [word for place, word in enumerate(post) if place not in lost]
