"""Texts of strangers, made safe for a terminal."""

import unicodedata


def printable(text: str) -> str:
    """Return a line in which what would move the cursor or change colours is spelt out."""
    return "".join(repr(sign)[1:-1] if unicodedata.category(sign) == "Cc" else sign for sign in text)
