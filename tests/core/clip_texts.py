"""Texts on which two tokenizers are compared: tags, captions, and whatever people put into prompts."""

import hashlib
from collections.abc import Iterable, Iterator

TEXTS = (
    "",
    " ",
    "1girl",
    "6+girls",
    "1girl, solo, long hair, blue eyes, cat ears, witch hat, smile, open mouth",
    "masterpiece, best quality, great quality, normal quality, worst quality, year 2019, newest, safe",
    "cherry_blossoms, one_eye_closed, upper_body, hair_bow",
    "hatsune miku (vocaloid), kasane teto",
    "re:zero kara hajimeru isekai seikatsu, jojo no kimyou na bouken",
    "^_^, :d, ;p, >_<, 0_0, (o)_(o), ||_||, +_+, @_@, x_x, =_=, <|>_<|>",
    "don't they've it's I'M we'll you'd they're",
    "'s 't 're 've 'm 'll 'd",
    "ÀÉÎ œuvre, emily jäger, jonas roßner, ñandú's",
    "日本語 タグ 初音ミク 한국어 русский ελληνικά العربية",
    "emoji 😀👍🏽🏳️‍🌈 mixed🙂text",
    "½ ² ① ٣ 1234567890 3.14 -5 1,000",
    "c++ c# a/b\\c a&b a&&b [x] {y} (z:1.2) ((w)) ::: --- ... !!! ?!",
    "  many   spaces\n\tnew line ",
    "UPPER lower MiXeD CamelCase snake_case kebab-case",
    "https://example.com/a?b=c&d=e",
    "a" * 300,
    "ab" * 100,
    "x" * 77 + " " + "0" * 50,
)
PIECES = (
    *(
        "a",
        "b",
        "é",
        "Z",
        "ß",
        "の",
        "ж",
        "1",
        "2",
        "9",
        "_",
        "-",
        "'",
        "'s",
        "n't",
        ",",
        ".",
        "(",
        ")",
        "!",
        "+",
        "^",
        " ",
        "  ",
    ),
    *("girl", "hair", "blue", "the", "ing", "tion", "🙂", "witch", "year", "20", "quality", "master", "piece"),
)


def many_texts(count: int = 20_000) -> Iterator[str]:
    """Yield texts glued together from pieces by a linear congruential generator (Knuth's MMIX constants)."""
    state = 1
    for _ in range(count):
        pieces = []
        for _ in range(1 + (state >> 40) % 20):
            state = (6364136223846793005 * state + 1442695040888963407) % 2**64
            pieces.append(PIECES[(state >> 33) % len(PIECES)])
        yield "".join(pieces)


def digest(encoded: Iterable[list[int]]) -> str:
    """Return one hash for the tokens of many texts."""
    running = hashlib.sha256()
    for ids in encoded:
        running.update(f"{ids}\n".encode())
    return running.hexdigest()
