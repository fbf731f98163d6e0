"""A1111's infotext: what a picture was drawn from, in the PNG text chunk "parameters"; written and read back.

infotext := prompt [ NL "Negative prompt: " negative ] NL param { ", " param }
param    := KEY ": " ( JSON string | text without comma )
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from enogu.core.records.files import atomic_path

CHUNK = "parameters"
NEGATIVE = "Negative prompt:"
FEWEST_PARAMS = 3  # a last line with fewer belongs to the prompt

_PARAM = re.compile(
    r"""(?P<key> \w [-\w /]+ ) : \s* (?P<value> " (?: [^"\\] | \\. )+ " | [^,]* ) (?: , | $ )""", re.VERBOSE
)


@dataclass(frozen=True)
class Infotext:
    """A prompt, a negative prompt and parameters in order."""

    prompt: str
    negative: str = ""
    params: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Spell it as A1111 1.10 does."""
        negative = f"\n{NEGATIVE} {self.negative}" if self.negative else ""
        return f"{self.prompt}{negative}\n" + ", ".join(
            f"{key}: {_quoted(value)}" for key, value in self.params.items()
        )


def parse(text: str) -> Infotext:
    """Read an infotext, whoever wrote it."""
    *lines, last = text.strip().split("\n")
    params = {match["key"]: _unquoted(match["value"]) for match in _PARAM.finditer(last)}
    if len(params) < FEWEST_PARAMS:
        lines, params = [*lines, last], {}
    at = next((index for index, line in enumerate(lines) if line.strip().startswith(NEGATIVE)), len(lines))
    negative = "\n".join(lines[at:]).strip().removeprefix(NEGATIVE).strip()
    return Infotext("\n".join(lines[:at]).strip(), negative, params)


def number(value: float) -> str:
    """Spell a number as A1111's interface does: whole ones without a point."""
    return str(int(value)) if value == int(value) else str(value)


def write_png(path: Path, picture: Image.Image, infotext: Infotext) -> None:
    """Save a picture with its infotext, atomically."""
    chunks = PngInfo()
    chunks.add_text(CHUNK, str(infotext))
    with atomic_path(path) as part:
        picture.save(part, format="PNG", pnginfo=chunks)


def read_png(path: Path) -> str | None:
    """Return a PNG's infotext, or nothing where there is no picture or no text."""
    try:
        with Image.open(path) as picture:
            text = picture.info.get(CHUNK)
    except OSError:  # missing, or no picture
        return None
    return text if isinstance(text, str) else None


def _quoted(value: str) -> str:
    """A1111 quotes what holds a comma, colon or new line; we also what would look quoted."""
    return json.dumps(value, ensure_ascii=False) if re.search(r'[,:\n]|^"', value) else value


def _unquoted(value: str) -> str:
    value = value.strip()
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except json.JSONDecodeError:
        return value
