"""The formula language: text to a tree (its grammar is in docs/formula.md)."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from enogu.core.records.errors import Refused

MAX_DEPTH = 100  # a formula nested deeper than this was not written by a maker
LOOKALIKES = {"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "“": '"', "”": '"', "‘": "'", "’": "'"}
TIMES = "; write * between a number and what it multiplies"
SHOWN = 96  # characters of a long line that are shown around the place of a mistake

NAME = re.compile(r"[^\W\d]\w*(?:@\w+)?")
_TOKEN = re.compile(
    rf"""(?P<space>\s+|\#[^\n]*)
      | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w]))
      | (?P<name>{NAME.pattern})
      | (?P<text>"[^"\n]*"|'[^'\n]*')
      | (?P<sign>[-+*/()\[\],.=;])""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Number:
    """A number as written."""

    value: float
    at: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True)
class Name:
    """A model or an earlier step."""

    name: str
    at: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True)
class Text:
    """A quoted word: an option, a model's name, or a pattern of names."""

    text: str
    at: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True)
class Items:
    """A bracketed list."""

    items: "tuple[Expression, ...]"
    at: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True)
class Call:
    """A method with its arguments."""

    method: str
    arguments: "tuple[Expression, ...]"
    options: "tuple[tuple[str, Expression], ...]"
    at: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True)
class Part:
    """One component of a value, as in `a.unet`."""

    whole: "Expression"
    component: str
    at: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True)
class Chain:
    """Values joined from left to right by + and -, or by * and /."""

    first: "Expression"
    rest: "tuple[tuple[str, Expression], ...]"
    at: int = field(default=0, compare=False, repr=False)


Expression = Number | Name | Text | Items | Call | Part | Chain


@dataclass(frozen=True)
class Formula:
    """Named steps in order, and the result; two are equal if they say the same."""

    text: str = field(compare=False)
    steps: tuple[tuple[str, Expression], ...]
    result: Expression

    def walk(self, *, options: bool = False) -> Iterator[Expression]:
        """Yield everything in the formula, in the order of the text; the values of options if asked for."""
        for _, expression in (*self.steps, ("", self.result)):
            yield from walk(expression, options=options)


def walk(expression: Expression, *, options: bool = False) -> Iterator[Expression]:
    """Yield an expression and all beneath it, in the order of the text; the values of options if asked for."""
    yield expression
    match expression:
        case Items(inner):
            beneath = inner
        case Call(_, inner, given):
            beneath = (*inner, *(value for _, value in given if options))
        case Part(whole, _):
            beneath = (whole,)
        case Chain(first, rest):
            beneath = (first, *(right for _, right in rest))
        case _:
            beneath = ()
    for item in beneath:
        yield from walk(item, options=options)


class Pointed(Refused):
    """A refusal that shows its place in the formula."""


def pointed(text: str, at: int, problem: str) -> Pointed:
    """Return a refusal with the line of a mistake and a caret under it."""
    start = text.rfind("\n", 0, at) + 1
    line, column = text[start:].split("\n", 1)[0], at - start
    cut = max(0, min(column - SHOWN // 2, len(line) - SHOWN))
    shown = ("..." if cut else "") + line[cut : cut + SHOWN] + ("..." if cut + SHOWN < len(line) else "")
    caret = " " * (column - cut + (3 if cut else 0)) + "^"
    return Pointed(f"formula, line {text.count(chr(10), 0, at) + 1}: {problem}\n  {shown}\n  {caret}")


def parse(text: str) -> Formula:
    """Parse a formula, or refuse it and point at the place."""
    return _Parser(text).formula()


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


class _Parser:
    """Recursive descent; line breaks mean nothing, except that a call opens on its own line."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(self._scan())
        self.next = 0
        self.depth = 0

    def formula(self) -> Formula:
        """Parse steps and the result."""
        steps: list[tuple[str, Expression]] = []
        while True:
            while self._take(";"):
                pass
            name = self.tokens[self.next]
            if name.kind != "name" or self.tokens[self.next + 1].text != "=":
                break
            self.next += 2
            steps.append((name.text, self._sum()))
        if name.kind == "end" and steps:
            return Formula(self.text, tuple(steps[:-1]), steps[-1][1])
        result = self._sum()
        while self._take(";"):
            pass
        if self.tokens[self.next].kind != "end":
            self._fail("an operator or the end")
        return Formula(self.text, tuple(steps), result)

    def _sum(self) -> Expression:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self._fail(f"at most {MAX_DEPTH} brackets inside one another")
        first = self._product()
        rest = [(sign, self._product()) for sign in iter(lambda: self._take("+", "-"), "")]
        self.depth -= 1
        return Chain(first, tuple(rest), first.at) if rest else first

    def _product(self) -> Expression:
        first = self._signed()
        rest = [(sign, self._signed()) for sign in iter(lambda: self._take("*", "/"), "")]
        return Chain(first, tuple(rest), first.at) if rest else first

    def _signed(self) -> Expression:
        negative, at = False, self.tokens[self.next].at
        while sign := self._take("+", "-"):
            negative ^= sign == "-"
        value = self._value()
        while self._take("."):
            token = self._expect("name", "a component")
            value = Part(value, token.text, token.at)
        return Chain(Number(-1.0, at), (("*", value),), at) if negative else value

    def _value(self) -> Expression:
        token = self.tokens[self.next]
        if token.kind == "end" or token.text in "+-*/)],.=;":
            self._fail("a model, a number or a method")
        self.next += 1
        if token.kind == "number":
            if math.isinf(float(token.text)):
                raise pointed(self.text, token.at, f"{token.text} is too large a number")
            return Number(float(token.text), token.at)
        if token.kind == "text":
            return Text(token.text[1:-1], token.at)
        if token.kind == "name":
            return self._call(token) if self._opens_call(token) else Name(token.text, token.at)
        if token.text == "[":
            return Items(tuple(self._list("]")), token.at)
        value = self._sum()
        self._expect(")", "')'")
        return value

    def _opens_call(self, name: _Token) -> bool:
        after = self.tokens[self.next]
        return after.text == "(" and "\n" not in self.text[name.at : after.at]

    def _call(self, name: _Token) -> Expression:
        self.next += 1
        arguments: list[Expression] = []
        options: list[tuple[str, Expression]] = []
        while not self._take(")"):
            token = self.tokens[self.next]
            if token.kind == "name" and self.tokens[self.next + 1].text == "=":
                if token.text in (given for given, _ in options):
                    raise pointed(self.text, token.at, f"{name.text}() is given {token.text} twice")
                self.next += 2
                options.append((token.text, self._sum()))
            else:
                arguments.append(self._sum())
            self._comma(")")
        return Call(name.text, tuple(arguments), tuple(options), name.at)

    def _list(self, close: str) -> Iterator[Expression]:
        while not self._take(close):
            yield self._sum()
            self._comma(close)

    def _comma(self, close: str) -> None:
        if not self._take(",") and self.tokens[self.next].text != close:
            self._fail(f"',' or '{close}'")

    def _take(self, *signs: str) -> str:
        token = self.tokens[self.next]
        if token.kind != "sign" or token.text not in signs:
            return ""
        self.next += 1
        return token.text

    def _expect(self, what: str, words: str) -> _Token:
        token = self.tokens[self.next]
        if what not in (token.kind, token.text):
            self._fail(words)
        self.next += 1
        return token

    def _scan(self) -> Iterator[_Token]:
        at = 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            if match is None:
                sign = self.text[at]
                meant = f"; write {LOOKALIKES[sign]}" if sign in LOOKALIKES else TIMES if sign.isdecimal() else ""
                raise pointed(self.text, at, f"cannot read {sign!r}{meant}")
            if match.lastgroup != "space":
                yield _Token(str(match.lastgroup), match.group(), at)
            at = match.end()
        yield _Token("end", "", at)

    def _fail(self, wanted: str) -> NoReturn:
        token = self.tokens[self.next]
        found = repr(token.text) if token.text else "the end"
        raise pointed(self.text, token.at, f"expected {wanted}, found {found}{self._likely()}")

    def _likely(self) -> str:
        """Return what was probably meant where two values stand side by side."""
        before, token = self.tokens[self.next - 1], self.tokens[self.next]
        if token.text == "," and before.kind == "number":
            return "; a decimal point is a point, and a list of numbers stands in square brackets"
        if before.kind == "number" and (token.text == "(" or token.kind in ("name", "number", "text")):
            return TIMES
        if token.kind in ("name", "number") and before.kind == "name":
            return "; a model's name with spaces, dots or dashes stands in quotes"
        return ""
