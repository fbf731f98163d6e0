"""What the model reads this time: `caption(post, rules, rng) -> text`, a fold over small processors."""

from collections.abc import Callable
from dataclasses import dataclass

from numpy.random import Generator

Said = list[tuple[str, str]]  # (group, word), in order


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What chance may do to a caption."""

    shuffled: frozenset[str] = frozenset()  # groups whose words change places
    limit: int = 0
    priority: tuple[str, ...] = ()
    drop_caption: float = 0.0
    drop_tags: float = 0.0
    drop_varied: bool = False
    never_drop: frozenset[str] = frozenset()


Processor = Callable[[Said, Rules, Generator], Said]


def caption(post: Said, rules: Rules, rng: Generator) -> str:
    """Return the caption of a post as one read of it gives."""
    for process in PROCESSORS:
        post = process(post, rules, rng)
    return text(post)


def plain(post: Said, rules: Rules) -> str:
    """Return the caption with nothing left to chance: under a limit the first words of each group stay."""
    return text(_first(post, rules, list(range(len(post)))))


def text(post: Said) -> str:
    """Return words as a caption."""
    return ", ".join(word for _, word in post)


def drop_caption(post: Said, rules: Rules, rng: Generator) -> Said:
    """Say nothing, for classifier-free guidance (Ho and Salimans 2022, algorithm 1)."""
    return [] if rng.random() < rules.drop_caption else post


def drop_tags(post: Said, rules: Rules, rng: Generator) -> Said:
    """Leave each word out with one probability, except in groups that must always be said.

    Varied, each read draws the probability anew, up to `drop_tags`: captions of all lengths teach short prompts.
    """
    if not rules.drop_tags:
        return post
    share = rules.drop_tags * (rng.random() if rules.drop_varied else 1.0)
    draws = rng.random(len(post)).tolist()
    return [said for said, draw in zip(post, draws, strict=True) if draw >= share or said[0] in rules.never_drop]


def at_most(post: Said, rules: Rules, rng: Generator) -> Said:
    """Keep `limit` words: by the priority of their groups, within a group by chance."""
    return _first(post, rules, rng.permutation(len(post)).tolist()) if rules.limit else post


def shuffle(post: Said, rules: Rules, rng: Generator) -> Said:
    """Change the places of the words of shuffled groups among themselves."""
    places = [place for place, (group, _) in enumerate(post) if group in rules.shuffled]
    mixed = list(post)
    for place, other in zip(places, rng.permutation(len(places)).tolist(), strict=True):
        mixed[place] = post[places[other]]
    return mixed


PROCESSORS: tuple[Processor, ...] = (drop_caption, drop_tags, at_most, shuffle)


def _first(post: Said, rules: Rules, draws: list[int]) -> Said:
    if not 0 < rules.limit < len(post):
        return post
    rank = {group: number for number, group in enumerate(rules.priority)}
    order = sorted(range(len(post)), key=lambda place: (rank.get(post[place][0], len(rank)), draws[place]))
    return [post[place] for place in sorted(order[: rules.limit])]
