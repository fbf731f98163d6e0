"""The text of a query into its tree, as danbooru's PostQuery parser reads it; errors point at their place."""

import difflib
import math
import re
from collections.abc import Callable

from enogu.core.records.errors import Refused
from enogu.posts.query import And, Between, Known, Like, Not, OneOf, Or, Query, Tag
from enogu.posts.query_columns import Column, columns, span, word

NAMED = re.compile(r"([A-Za-z_][A-Za-z_0-9]*):")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
COMPARED = re.compile(r"(>=|<=|=|>|<)(.+)")
RANGED = re.compile(r"(.*?)(\.\.\.?)(.*)")
LIKE_A_RANGE = re.compile(r"[<>=]|-?\d|.*\.\.")
REMEDIES = {
    "order": "a set has no order; where.sample draws from it",
    "limit": "say where.sample, or where.caps",
    "age": "it would mean something else tomorrow; say date:",
    "status": "say deleted:, banned:, pending: or flagged: with true or false",
    "is": "say deleted:, banned:, pending: or flagged: with true or false",
}


def parse(text: str) -> Query:
    """Read a query; what is empty asks for nothing."""
    return _Parser(text).whole()


def pointed(message: str, text: str, at: int) -> Refused:
    """Return a refusal that shows the place in the text."""
    line = re.sub(r"\s", " ", text)
    return Refused(f"{message}\n  {line}\n  {' ' * at}^")


class _Parser:
    """Recursive descent: or < side by side < not < one word."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0

    def whole(self) -> Query:
        """Read all of the text."""
        self._space()
        if self.at == len(self.text):
            return And(())
        return self._or()

    def _or(self) -> Query:
        parts = [self._and()]
        while self._keyword("or"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else Or(_flat(Or, parts))

    def _and(self) -> Query:
        parts: list[Query] = []
        optional: list[Query] = []  # danbooru's older way: ~a ~b is (a or b)
        while self._more():
            if self._keyword("and"):
                if (not parts and not optional) or not self._more():
                    raise self._wrong("'and' stands between two conditions")
                continue
            loose = self._sign("~")
            (optional if loose else parts).append(self._not())
        if optional:
            parts.append(optional[0] if len(optional) == 1 else Or(_flat(Or, optional)))
        if not parts:
            raise self._wrong('a condition is missing here; a tag of this name goes into "quotes"')
        return parts[0] if len(parts) == 1 else And(_flat(And, parts))

    def _not(self) -> Query:
        if self._sign("-") or self._keyword("not"):
            return Not(self._not())
        if self.at == len(self.text):
            raise self._wrong("a condition is missing here")
        if self.text[self.at] == "(":
            return self._bracket()
        if self.text[self.at] == ")":
            raise self._wrong("this bracket closes nothing")
        if re.compile(r"(and|or)(?=[\s(]|$)", re.IGNORECASE).match(self.text, self.at):
            raise self._wrong("this word stands between two conditions")
        if self.text[self.at] == "~":
            raise self._wrong("~ stands before all else of a condition, once")
        return self._one()

    def _bracket(self) -> Query:
        start = self.at
        self.at, self.depth = self.at + 1, self.depth + 1
        self._space()
        found = self._or()
        if self.at == len(self.text):
            self.at = start
            raise self._wrong("this bracket is never closed")
        self.at, self.depth = self.at + 1, self.depth - 1
        self._space()
        return found

    def _one(self) -> Query:
        start = self.at
        if (name := self._quoted()) is not None:
            if not name:
                raise pointed("a tag needs a name", self.text, start)
            return Tag(name, start)
        if (named := NAMED.match(self.text, self.at)) and (column := columns().get(named[1].lower())):
            self.at = named.end()
            return self._column(column)
        name = self._word()
        if named and (found := REMEDIES.get(named[1].lower())):
            raise pointed(f"{named[1]}: is no column here; {found}", self.text, start)
        if named and LIKE_A_RANGE.match(name, named.end() - start):
            near = difflib.get_close_matches(named[1].lower(), columns(), n=1, cutoff=0.7)
            if near:
                message = f'unknown column {named[1]!r}; did you mean {near[0] + ":"!r}? A tag goes into "quotes"'
                raise pointed(message, self.text, start)
        return Like(name) if "*" in name else Tag(name, start)

    def _column(self, column: Column) -> Query:
        start, parts = self.at, self._values()
        if not parts or not all(parts):
            raise pointed(f"{column.name}: needs a value", self.text, start)
        if parts in (["any"], ["none"]) and self.text[start] != '"':
            return Known(column) if parts == ["any"] else Not(Known(column))
        try:
            if column.kind in ("word", "text"):
                return OneOf(column, tuple(word(column, one) for one in parts))
            found = tuple(_range(column, one) for one in parts)
        except (ValueError, OverflowError) as problem:
            raise pointed(f"{column.name}:{','.join(parts)}: {problem}", self.text, start) from None
        return found[0] if len(found) == 1 else Or(found)

    def _values(self) -> list[str]:
        parts = []
        while True:
            found = self._quoted(after=",")
            parts.append(found if found is not None else self._word(until=","))
            if self.text[self.at : self.at + 1] != ",":
                self._space()
                return parts
            self.at += 1

    def _quoted(self, after: str = "") -> str | None:
        if self.text[self.at : self.at + 1] != '"':
            return None
        found = QUOTED.match(self.text, self.at)
        if found is None:
            raise self._wrong("this quote is never closed")
        self.at = found.end()
        if not after:
            self._space()
        return re.sub(r"\\(.)", r"\1", found[1])

    def _word(self, until: str = "") -> str:
        """Read to the next space; a bracket at the end that the word did not open closes a group, if one is open."""
        found = re.compile(rf"[^\s{until}]*").match(self.text, self.at)
        assert found is not None
        name = found[0]
        surplus, depth = name.count(")") - name.count("("), self.depth
        while surplus > 0 and depth > 0 and name.endswith(")"):
            name, surplus, depth = name[:-1], surplus - 1, depth - 1
        if not name and not until:
            raise self._wrong('a condition is missing here; a tag of this name goes into "quotes"')
        self.at += len(name)
        if not until:
            self._space()
        return name

    def _keyword(self, word: str) -> bool:
        found = re.compile(rf"{word}(?=[\s(]|$)", re.IGNORECASE).match(self.text, self.at)
        if found:
            self.at = found.end()
            self._space()
        return found is not None

    def _sign(self, sign: str) -> bool:
        found = self.text.startswith(sign, self.at)
        if found:
            self.at += len(sign)
            self._space()
        return found

    def _more(self) -> bool:
        rest = self.text[self.at :]
        return bool(rest) and not (rest[0] == ")" and self.depth) and not re.match(r"or(?=[\s(]|$)", rest, re.I)

    def _space(self) -> None:
        found = re.compile(r"\s*").match(self.text, self.at)
        self.at = found.end() if found else self.at

    def _wrong(self, message: str) -> Refused:
        return pointed(message, self.text, self.at)


def _flat(kind: type[And] | type[Or], parts: list[Query]) -> tuple[Query, ...]:
    """Take the parts of parts of the same kind: brackets that change nothing leave no trace."""
    return tuple(inner for part in parts for inner in (part.parts if isinstance(part, kind) else (part,)))


def _range(column: Column, text: str) -> Query:
    if found := COMPARED.fullmatch(text):
        sides: dict[str, Callable[[float, float], Between]] = {
            ">=": lambda low, _: Between(column, low=low),
            ">": lambda _, high: Between(column, low=high, above=True),
            "<=": lambda _, high: Between(column, high=high),
            "<": lambda low, _: Between(column, high=low, below=True),
            "=": lambda low, high: Between(column, low=low, high=high),
        }
        return sides[found[1]](*span(column, found[2]))
    if (found := RANGED.fullmatch(text)) and (found[1] or found[3]):
        low = span(column, found[1])[0] if found[1] else -math.inf
        ends = span(column, found[3]) if found[3] else (math.inf, math.inf)
        below = found[2] == "..." and bool(found[3])
        if low > ends[1]:
            raise ValueError("the lower end comes first")
        return Between(column, low=low, high=ends[not below], below=below)
    low, high = span(column, text)
    return Between(column, low=low, high=high)
