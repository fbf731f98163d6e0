"""What A1111's grammar does with a prompt and its writer hardly meant: one line each."""

import re
from collections.abc import Iterator

from enogu.sample.prompt import MOST_CALLS, positive

_NEVER = re.compile(r"\[([^\[\]():|\\]+):\s*((\d*)\.\d+)\s*\]")
_TAG_BRACKETS = re.compile(r"\w*\w(?<!\\)\([^():\\]+\)")


def lint(prompt: str) -> list[str]:
    """Return what to look at in a positive prompt."""
    return [f"in the prompt {prompt!r}: {line}" for line in _lines(prompt)]


def _lines(prompt: str) -> Iterator[str]:
    for match in _NEVER.finditer(prompt):
        if int(match[3] or 0) >= 1:
            yield f"{match[0]} shows {match[1]!r} after the last step, so never; a weight is ({match[1]}:{match[2]})"
    parts = positive(prompt, MOST_CALLS)
    if len(parts) == 1 and parts[0].weight != 1:
        yield f"its end is read as a weight of {parts[0].weight:g} on all of it; put a comma behind the number"
    for match in _TAG_BRACKETS.finditer(prompt):
        escaped = re.sub(r"([()])", r"\\\1", match[0])
        yield f"the brackets of {match[0]} only weigh it; as part of a name they are written {escaped}"
