"""A query as a tree, and its text, in the words of danbooru's search box.

    1girl -comic rating:general score:>=10 (cat_ears or fox_ears) date:2018..2022 width:>=512 *_hair

What stands side by side must all hold; `or` binds weaker; `-` or `not` turns round what follows. `show` writes a tree
so that `query_syntax.parse` reads the same tree again.
"""

import math
import re
from dataclasses import dataclass, field

from enogu.posts.query_columns import Column, columns, written

WORDS = ("and", "or", "not")
PLAIN = re.compile(r'[^\s"()~*-][^\s"()*]*')  # what needs no quotes, brackets aside


@dataclass(frozen=True)
class Tag:
    """Posts with a tag, with one that stands for it, or with one that implies it."""

    name: str
    at: int = field(default=0, compare=False)  # where the text says so, for messages


@dataclass(frozen=True)
class Like:
    """Posts with a tag of this shape; the one wildcard is *, since ?, [ and ] are part of real tags."""

    pattern: str


@dataclass(frozen=True)
class Between:
    """Posts with a value from `low` to `high`; both ends belong to it unless `above` or `below` says otherwise."""

    column: Column
    low: float = -math.inf
    high: float = math.inf
    above: bool = False  # greater than low
    below: bool = False  # less than high


@dataclass(frozen=True)
class OneOf:
    """Posts whose word is one of these; * stands for anything."""

    column: Column
    words: tuple[str, ...]


@dataclass(frozen=True)
class Known:
    """Posts that have a value at all."""

    column: Column


@dataclass(frozen=True)
class Not:
    """Posts of which the part does not hold; where a value is missing, that is so, too."""

    part: "Query"


@dataclass(frozen=True)
class And:
    """Posts of which every part holds; none is asked: all posts."""

    parts: tuple["Query", ...]


@dataclass(frozen=True)
class Or:
    """Posts of which a part holds."""

    parts: tuple["Query", ...]


Query = Tag | Like | Between | OneOf | Known | Not | And | Or


def show(query: Query) -> str:
    """Write a query."""
    match query:
        case And(parts):
            return " ".join(_bracketed(part) if isinstance(part, And | Or) else show(part) for part in parts)
        case Or(parts):
            return " or ".join(_bracketed(part) if isinstance(part, Or) else show(part) for part in parts)
        case Not(Known(column)):
            return f"{column.name}:none"
        case Not(part):
            return f"-{_bracketed(part) if isinstance(part, And | Or) else show(part)}"
        case Tag(name):
            return name if _is_plain(name) else quoted(name)
        case Like(pattern):
            return pattern
        case Between():
            return f"{query.column.name}:{_range(query)}"
        case OneOf(column, words):
            return f"{column.name}:{','.join(_value(one) for one in words)}"
        case Known(column):
            return f"{column.name}:any"


def _bracketed(query: Query) -> str:
    """Write a query in brackets, away from an open bracket of its last word, as in *(*."""
    text = show(query)
    last = text.rpartition(" ")[2]
    return f"({text}{' ' if last.count('(') > last.count(')') else ''})"


def quoted(text: str) -> str:
    """Write text that is to be taken as it stands."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _value(word: str) -> str:
    return word if re.fullmatch(r'[^\s"(),]+', word) and word not in ("none", "any") else quoted(word)


def _is_plain(name: str) -> bool:
    """Tell whether a tag is read as itself without quotes: balanced brackets may follow its beginning."""
    bare = re.sub(r"\([^\s\"()*]*\)", "", name)
    column, colon, _ = name.partition(":")
    if colon and (column.lower() in columns() or column.isidentifier()):  # it might be taken for a column, misspelt
        return False
    return bool(PLAIN.fullmatch(bare)) and name[0] != "(" and name.lower() not in WORDS


def _range(query: Between) -> str:
    low = written(query.column, query.low, end=query.above) if math.isfinite(query.low) else ""
    high = written(query.column, query.high, end=not query.below) if math.isfinite(query.high) else ""
    if low and high:
        return low if low == high and not query.below else f"{low}{'...' if query.below else '..'}{high}"
    return f"{'>' if query.above else '>='}{low}" if low else f"{'<' if query.below else '<='}{high}"
