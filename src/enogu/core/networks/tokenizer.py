"""CLIP's byte-pair tokens, from the 49,408-entry vocabulary that instant-clip-tokenizer carries."""

import unicodedata
from collections.abc import Sequence
from functools import cache

from instant_clip_tokenizer import Tokenizer

BOS = 49406
EOS = 49407


@cache
def _tokenizer() -> Tokenizer:
    return Tokenizer()


def tokenize(text: str) -> list[int]:
    """Return the token ids of a text, composed (NFC) as transformers does, without start and end marks."""
    return [int(token) for token in _tokenizer().encode(unicodedata.normalize("NFC", text))]


def decode(tokens: Sequence[int]) -> str:
    """Return the text of tokens; ends of words become spaces, bytes that are no whole characters U+FFFD."""
    return str(_tokenizer().decode(list(tokens)))
