"""Errors a user can act on: they name the value, the field and the remedy."""

import difflib
from collections.abc import Iterable


class Refused(ValueError):
    """Bad input found before any work; the command line exits with status 2."""


class Failed(RuntimeError):
    """Work that could not be finished; the command line exits with status 1."""


def unknown(what: str, name: str, known: Iterable[str]) -> Refused:
    """Return a refusal for an unknown name that suggests the nearest known ones."""
    return Refused(f"unknown {what} {name!r}; {nearest(name, known)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return which known name was probably meant, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
