"""The prompt-editing grammar of A1111: `[before:after:when]` and `[one|two]` -> the text of every denoiser call.

    prompt    := { "(" prompt [ ":" prompt ] ")" | "[" prompt "]" | edit | alternate | plain }
    edit      := "[" [ prompt ":" ] prompt ":" NUMBER "]"
    alternate := "[" prompt "|" prompt { "|" prompt } "]"

Brackets and colons that fit nowhere are literal; a stray "|" or a lone last backslash makes the whole prompt so.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

_PLAIN = re.compile(r"(?:[^\\\[\]():|]|\\.)+")
_WHEN = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*\]")


class Variant(NamedTuple):
    """The text that counts up to and including a call of the denoiser, counted from 1."""

    until: int
    text: str


@dataclass(frozen=True)
class _Edit:
    before: "_Nodes"
    after: "_Nodes"
    when: str

    def last_before(self, calls: int) -> int:
        """A number with a point is a share of the calls, one without counts them."""
        value = float(self.when)
        return min(calls, int(value * calls) if "." in self.when else int(value))


@dataclass(frozen=True)
class _Alternate:
    options: tuple["_Nodes", ...]


_Node = str | _Edit | _Alternate
_Nodes = tuple[_Node, ...]


def variants(prompt: str, calls: int) -> list[Variant]:
    """Return the texts of a prompt for a run of `calls` denoiser calls, in order."""
    nodes = _parse(prompt)
    if nodes is None:
        return [Variant(calls, prompt)]
    ends = sorted({calls, *(end for end in _ends(nodes, calls) if end >= 1)})
    return [Variant(end, _text(nodes, end, calls)) for end in ends]


def _ends(nodes: _Nodes, calls: int) -> Iterator[int]:
    for node in nodes:
        if isinstance(node, _Edit):
            yield node.last_before(calls)
            yield from _ends(node.before + node.after, calls)
        elif isinstance(node, _Alternate):
            yield from range(1, calls + 1)
            for option in node.options:
                yield from _ends(option, calls)


def _text(nodes: _Nodes, call: int, calls: int) -> str:
    parts = []
    for node in nodes:
        if isinstance(node, _Edit):
            chosen = node.before if call <= node.last_before(calls) else node.after
            parts.append(_text(chosen, call, calls))
        elif isinstance(node, _Alternate):
            parts.append(_text(node.options[(call - 1) % len(node.options)], call, calls))
        else:
            parts.append(node)
    return "".join(parts)


def _parse(text: str) -> _Nodes | None:
    nodes, at = _prompt(text, 0)
    while at < len(text):
        if text[at] in "|\\":
            return None
        more, end = _prompt(text, at + 1)
        nodes, at = (*nodes, text[at], *more), end
    return nodes


def _prompt(text: str, at: int) -> tuple[_Nodes, int]:
    nodes: _Nodes = ()
    while at < len(text):
        if plain := _PLAIN.match(text, at):
            nodes, at = (*nodes, plain[0]), plain.end()
        elif text[at] in "([" and (found := (_round if text[at] == "(" else _square)(text, at + 1)):
            nodes, at = nodes + found[0], found[1]
        else:
            break
    return nodes, at


def _round(text: str, at: int) -> tuple[_Nodes, int] | None:
    nodes, at = _prompt(text, at)
    if text.startswith(":", at):
        more, at = _prompt(text, at + 1)
        nodes = (*nodes, ":", *more)
    return (("(", *nodes, ")"), at + 1) if text.startswith(")", at) else None


def _square(text: str, at: int) -> tuple[_Nodes, int] | None:
    first, at = _prompt(text, at)
    if text.startswith("]", at):
        return ("[", *first, "]"), at + 1
    if text.startswith("|", at):
        return _alternate(text, at, first)
    if text.startswith(":", at):
        return _edit(text, at + 1, first)
    return None


def _alternate(text: str, at: int, first: _Nodes) -> tuple[_Nodes, int] | None:
    options = [first]
    while text.startswith("|", at):
        option, at = _prompt(text, at + 1)
        options.append(option)
    return ((_Alternate(tuple(options)),), at + 1) if text.startswith("]", at) else None


def _edit(text: str, at: int, first: _Nodes) -> tuple[_Nodes, int] | None:
    if when := _WHEN.match(text, at):
        return (_Edit((), first, when[1]),), when.end()
    second, at = _prompt(text, at)
    if text.startswith(":", at) and (when := _WHEN.match(text, at + 1)):
        return (_Edit(first, second, when[1]),), when.end()
    return None
