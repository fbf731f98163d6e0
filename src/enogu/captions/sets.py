"""The sets of a recipe as rules for reading: what a set does not say is as in [captions]."""

from collections.abc import Iterable
from typing import Any

from enogu.captions.config import MARK, CaptionsConfig, CaptionSet
from enogu.captions.rules import Rules
from enogu.captions.spoken import matching

INHERITED = ("shuffle_every", "separator", "drop_caption", "levels", "drop_tags", "drop_varied", "drop_groups")


def rules_of(config: CaptionsConfig, one: CaptionSet, words: Iterable[str]) -> Rules:
    """Return how a caption set is read; `words` are all that there are."""

    def chosen(name: str) -> Any:
        own = getattr(one, name)
        return getattr(config, name) if own is None else own

    order = one.order or config.order
    return Rules(
        order=tuple(group for group in order if group != MARK),
        fallback=one.fallback,
        shuffled=shuffled(order, chosen("shuffle_after")),
        limit=one.limit,
        budget=one.budget,
        text_budget=one.text_budget,
        priority=one.priority,
        never_drop=frozenset(chosen("never_drop")),
        spared=_spared(chosen("never_drop_tags"), words),
        **{name: chosen(name) for name in INHERITED},
    )


def shuffled(order: tuple[str, ...], after: str) -> frozenset[str]:
    """Return the groups that change places: from `after` to the next mark, or to the end."""
    if not after:
        return frozenset()
    rest = order[order.index(after) + 1 :]
    return frozenset(rest[: rest.index(MARK)] if MARK in rest else rest)


def _spared(patterns: tuple[str, ...], words: Iterable[str]) -> frozenset[str]:
    """Return the words that some patterns mean, however they are spelt."""
    pattern = matching(patterns)
    return frozenset(word for word in words if patterns and pattern.fullmatch(word.replace(" ", "_").replace("\\", "")))
