"""The columns that a query can ask for, and how their values are written: numbers, sizes, ratios, dates."""

import re
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files

from enogu.core.records.errors import unknown
from enogu.core.records.posts import RATINGS

UNITS = {"b": 1, "k": 1 << 10, "kb": 1 << 10, "m": 1 << 20, "mb": 1 << 20, "g": 1 << 30, "gb": 1 << 30}
DATE = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2})(?:[T ]?(\d{2}):(\d{2})(?::(\d{2}))?)?)?)?")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STEP = timedelta(microseconds=1)
LETTERS = {"g": "general", "q": "questionable", "e": "explicit"}
FLAGS = {"true": 1, "yes": 1, "1": 1, "false": 0, "no": 0, "0": 0}

Span = tuple[float, float]  # what a written value covers: a year is long; both ends belong to it


@dataclass(frozen=True)
class Column:
    """One name that may stand before a colon."""

    name: str
    kind: str  # see query_columns.toml
    of: str

    @property
    def ranged(self) -> bool:
        """Tell whether its values have an order."""
        return self.kind not in ("word", "text", "flag")


@cache
def columns() -> dict[str, Column]:
    """Return every column under each of its names."""
    table = tomllib.loads((files(__package__) / "query_columns.toml").read_text("utf-8"))
    made = [(Column(name, row["kind"], row.get("of", name)), row.get("also", ())) for name, row in table.items()]
    return {name: column for column, also in made for name in (column.name, *also)}


def span(column: Column, text: str) -> Span:
    """Read a written value; raise ValueError where it is none."""
    match column.kind:
        case "flag":
            return (FLAGS[text.lower()],) * 2 if text.lower() in FLAGS else _wrong("true or false")
        case "date":
            return _date(text)
        case "bytes":
            return (_bytes(text),) * 2
        case "ratio":
            return (_ratio(text),) * 2
        case "whole":
            return (int(text),) * 2 if re.fullmatch(r"-?\d+", text) else _wrong("a whole number")
    return (float(text),) * 2 if re.fullmatch(r"-?(\d+\.?\d*|\.\d+)", text) else _wrong("a number")


def word(column: Column, text: str) -> str:
    """Read a word; a rating must be one, for a slip would let nothing or everything through."""
    if column.name != "rating" or "*" in text:
        return text
    if text in ("s", "safe"):
        raise ValueError(f"{text!r} means general or sensitive, by site; write the word")
    rating = LETTERS.get(text, text)
    if rating not in RATINGS:
        raise unknown("rating", text, RATINGS)
    return rating


def written(column: Column, value: float, *, end: bool = False) -> str:
    """Write a value so that `span` begins, or ends, with it."""
    if column.kind == "flag":
        return "true" if value else "false"
    if column.kind == "date":
        moment = EPOCH + int(value) * STEP
        texts = (moment.strftime(form) for form in ("%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"))
        return next(text for text in texts if _date(text)[end] == value)
    return str(int(value)) if value == int(value) else repr(value)


def _wrong(wanted: str) -> Span:
    raise ValueError(f"give {wanted}")


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([a-z]*)", text.lower())
    if found is None or (found[2] or "b") not in UNITS:
        raise ValueError("give a size, as 200kb or 4mb")
    return round(float(found[1]) * UNITS[found[2] or "b"])


def _ratio(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:[:/](\d+(?:\.\d+)?))?", text)
    if found is None or float(found[2] or 1) == 0:
        raise ValueError("give a ratio of width to height, as 16:9 or 1.78")
    return round(float(found[1]) / float(found[2] or 1), 2)  # danbooru compares ratios to two decimals, too


def _date(text: str) -> Span:
    """Return the first and the last microsecond of a year, a month, a day, a minute or a second."""
    found = DATE.fullmatch(text)
    if found is None:
        raise ValueError("give a date, as 2018, 2018-03 or 2018-03-05")
    year, month, day, hour, minute, second = (int(part) if part else None for part in found.groups())
    assert year is not None
    start = datetime(year, month or 1, day or 1, hour or 0, minute or 0, second or 0, tzinfo=UTC)
    if second is not None or minute is not None:
        end = start + (timedelta(seconds=1) if second is not None else timedelta(minutes=1))
    elif day is not None:
        end = start + timedelta(days=1)
    else:
        end = datetime(year + 1 if month in (None, 12) else year, month % 12 + 1 if month else 1, 1, tzinfo=UTC)
    return (start - EPOCH) // STEP, (end - EPOCH) // STEP - 1
