"""Element rules: numbers for the tensors whose keys hold a word, as in SuperMerger's elemental merge."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from enogu.core.records.errors import Refused, unknown

NOT = "NOT"


@dataclass(frozen=True)
class Rule:
    """`BLOCKS:ELEMENTS:RATIO`: words apart by spaces, none meaning all, NOT before them meaning all but these."""

    text: str
    blocks: tuple[str, ...]
    elements: tuple[str, ...]
    value: float
    not_blocks: bool = False
    not_elements: bool = False

    def within(self, names: Sequence[str]) -> "Rule":
        """Return the rule with ranges such as IN04-IN08 spelt out in the blocks of a family."""
        return replace(self, blocks=tuple(each for word in self.blocks for each in slots_named(word, names)))

    def hits(self, key: str, slot: str) -> bool:
        """Return whether a tensor takes this rule's number."""
        if self.blocks and (slot in self.blocks) == self.not_blocks:
            return False
        return not self.elements or any(word in key for word in self.elements) != self.not_elements


def read_rules(text: str) -> Iterator[Rule]:
    """Yield the rules of a text, apart by commas or line breaks (SuperMerger, elemental_en.md)."""
    for part in text.replace("\n", ",").split(","):
        if part.strip():
            yield _rule(part.strip())


def words_of(text: str) -> set[str]:
    """Return the words that a text looks for in keys, if it is a text of rules."""
    parts = [part.split(":") for part in text.replace("\n", ",").split(",")]
    return {word for part in parts if len(part) == 3 for word in part[1].split()}


def slots_named(word: str, names: Sequence[str]) -> list[str]:
    """Return the slots that `OUT04`, a range `IN04-IN08`, or a kind `OUT` means."""
    if found := [name for name in names if name == word or name.startswith(f"{word}.")]:
        return found
    first, dash, last = word.partition("-")
    if dash and first in names and last in names:
        start, stop = sorted((names.index(first), names.index(last)))
        return list(names[start : stop + 1])
    if found := [name for name in names if word.isalpha() and name.rstrip(".0123456789") == word]:
        return found
    raise unknown("block", first if dash and first not in names else last or word, names)


def _rule(text: str) -> Rule:
    blocks, first, rest = text.partition(":")
    elements, second, number = rest.partition(":")
    if not first or not second:
        raise Refused(f"{text!r} is no element rule; write BLOCKS:ELEMENTS:RATIO, for example ':attn2:0.3'")
    try:
        value = float(number)
        if not math.isfinite(value):
            raise ValueError
    except ValueError:
        raise Refused(f"{text!r}: the ratio of an element rule is a number, not {number.strip()!r}") from None
    not_blocks, block_words = _words(blocks)
    not_elements, element_words = _words(elements)
    return Rule(text, block_words, element_words, value, not_blocks, not_elements)


def _words(text: str) -> tuple[bool, tuple[str, ...]]:
    words = text.split()
    return words[:1] == [NOT], tuple(words[1:] if words[:1] == [NOT] else words)
