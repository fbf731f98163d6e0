"""A whole prompt as A1111 reads it: AND splits it, editing unfolds each part over the denoiser's calls."""

import re
from typing import NamedTuple

from enogu.sample.attention import attention
from enogu.sample.editing import Variant, variants

MOST_CALLS = 150  # the longest run that A1111 offers
_AND = re.compile(r"\bAND\b")
_WEIGHTED = re.compile(r"(?P<text>.*?)(?:\s*:\s*(?P<weight>[-+]?(?:\d+\.?|\d*\.\d+)))?\s*", re.DOTALL)


class Part(NamedTuple):
    """One side of an AND: its weight in the guidance, and its text over the calls."""

    weight: float
    variants: list[Variant]


def positive(prompt: str, calls: int) -> list[Part]:
    """Split at AND before any bracket is looked at; a part's last `: number` is its weight, AND or not."""
    parts = []
    for piece in _AND.split(prompt):
        match = _WEIGHTED.fullmatch(piece)
        assert match
        parts.append(Part(float(match["weight"] or 1), variants(match["text"], calls)))
    return parts


def negative(prompt: str, calls: int) -> Part:
    """Return a negative prompt, in which AND means nothing."""
    return Part(1.0, variants(prompt, calls))


def words(prompt: str) -> tuple[str, ...]:
    """Return the tags that a prompt ends up asking for: comma-separated, underscored, without weights."""
    text = ""
    for part in positive(prompt, calls=MOST_CALLS):
        for fragment in attention(part.variants[-1].text) if part.weight > 0 else []:
            text += fragment.text if fragment.weight > 0 else ","
        text += ","
    spelled = (word.strip().replace(" ", "_") for word in text.split(","))
    return tuple(dict.fromkeys(word for word in spelled if word))
