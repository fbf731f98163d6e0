"""CLIP's vocabulary and its merges as transformers' files spell them, read back out of the tokenizer that knows them.

A token is spelt in GPT-2's alphabet of bytes (Radford et al. 2019): printable ones stand for themselves, the others
for U+0100 and on; `</w>` is the end of a word. The tokenizer tells tokens as text only, so bytes that are no whole
characters are shown between others that make them whole.
"""

from collections.abc import Mapping
from functools import cache
from itertools import pairwise

from enogu.core.networks.tokenizer import BOS, decode

PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
ORDER = (*PRINTABLE, *(byte for byte in range(256) if byte not in PRINTABLE))  # of the first 256 tokens
LETTERS: Mapping[int, str] = {
    byte: chr(byte if i < len(PRINTABLE) else 256 + i - len(PRINTABLE)) for i, byte in enumerate(ORDER)
}
END = "</w>"
SPECIAL = ("<|startoftext|>", "<|endoftext|>")
# what may come before and behind a part of a UTF-8 character to make it whole
BEFORE = (b"", b"\xc2", b"\xe1", b"\xe1\x80", b"\xf1", b"\xf1\x80", b"\xf1\x80\x80")
BEHIND = (b"", *(bytes([byte]) + b"\x80" * more for byte in (0x80, 0x90, 0xA0) for more in range(3)))
UNREADABLE = "\ufffd"


@cache
def tokens() -> tuple[str, ...]:
    """Return the spelling of every token, in the order of their numbers."""
    single = [LETTERS[byte] + end for end in ("", END) for byte in ORDER]
    return (*single, *map(_spelt, range(len(single), BOS)), *SPECIAL)


@cache
def merges() -> tuple[str, ...]:
    """Return the pair of tokens that each longer token is made of: what the merges before it leave of its letters."""
    ranks: dict[tuple[str, str], int] = {}
    for token in tokens()[2 * len(ORDER) : BOS]:
        parts = [*token.removesuffix(END)[:-1], token.removesuffix(END)[-1] + (END if token.endswith(END) else "")]
        while len(parts) > 2:
            pairs = pairwise(parts)
            first = min((ranks[pair], at) for at, pair in enumerate(pairs) if pair in ranks)[1]
            parts[first : first + 2] = [parts[first] + parts[first + 1]]
        ranks[parts[0], parts[1]] = len(ranks)
    return tuple(" ".join(pair) for pair in ranks)


def _spelt(token: int) -> str:
    text = decode([token])
    end = END if text.endswith(" ") else ""
    return "".join(LETTERS[byte] for byte in _bytes(token, text.removesuffix(" "), whole=bool(end))) + end


def _bytes(token: int, text: str, *, whole: bool) -> bytes:
    """Return a token's bytes; a token may well be the sign of what is unreadable."""
    if UNREADABLE in text:
        for before in BEFORE:
            for behind in BEHIND[:1] if whole else BEHIND:
                shown = decode([*map(ORDER.index, before), token, *map(ORDER.index, behind)])
                if UNREADABLE not in shown:
                    return shown.removesuffix(" ").encode().removeprefix(before).removesuffix(behind)
    return text.encode()
