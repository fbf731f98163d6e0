"""The attention grammar of A1111 prompts: `(x)`, `[x]`, `(x:1.2)`, escapes and BREAK -> weighted fragments.

Two of A1111's bugs are not kept: a weight inside which BREAK stands does not turn it into a word, and a weight
that is no number is refused with its name instead of ending in a stack trace.
"""

import re
from typing import NamedTuple

from enogu.core.records.errors import Refused

ROUND, SQUARE = 1.1, 1 / 1.1


class Fragment(NamedTuple):
    """A stretch of text and the weight of its tokens."""

    text: str
    weight: float


BREAK = Fragment("BREAK", -1.0)  # ends a chunk of tokens

_TOKEN = re.compile(
    r"""\\(?P<escaped>[()\[\]\\]) | (?P<lone>\\) | (?P<open>[(\[]) | :\s*(?P<weight>[+-]?[.\d]+)\s*\)
      | (?P<close>[)\]]) | (?P<run>[^\\()\[\]:]+) | :""",
    re.VERBOSE,
)
_BREAK = re.compile(r"\s*\bBREAK\b\s*")


def attention(prompt: str) -> list[Fragment]:
    """Split a prompt into fragments, neighbours of equal weight joined; an empty one has one empty fragment."""
    fragments: list[Fragment] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}
    for token in _TOKEN.finditer(prompt):
        text = token[0]
        if token["open"]:
            opened[text].append(len(fragments))
        elif token["weight"] and opened["("]:
            _scale(fragments, opened["("].pop(), _number(token["weight"]))
        elif text == ")" and opened["("]:
            _scale(fragments, opened["("].pop(), ROUND)
        elif text == "]" and opened["["]:
            _scale(fragments, opened["["].pop(), SQUARE)
        elif not token["lone"]:
            _append(fragments, token["escaped"] or text)
    for starts, factor in ((opened["("], ROUND), (opened["["], SQUARE)):
        for start in starts:
            _scale(fragments, start, factor)
    return _joined(fragments) or [Fragment("", 1.0)]


def _append(fragments: list[Fragment], text: str) -> None:
    for index, part in enumerate(_BREAK.split(text)):
        fragments.extend([BREAK] if index else [])
        fragments.append(Fragment(part, 1.0))


def _scale(fragments: list[Fragment], start: int, factor: float) -> None:
    for index in range(start, len(fragments)):
        text, weight = fragments[index]
        if fragments[index] != BREAK:
            fragments[index] = Fragment(text, weight * factor)


def _joined(fragments: list[Fragment]) -> list[Fragment]:
    joined: list[Fragment] = []
    for fragment in fragments:
        last = joined[-1] if joined else BREAK
        if BREAK in (last, fragment) or last.weight != fragment.weight:
            joined.append(fragment)
        else:
            joined[-1] = Fragment(last.text + fragment.text, last.weight)
    return joined


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Refused(f"the weight {text!r} in a prompt is not a number; write it as in (red hair:1.2)") from None
