"""Weighted tokens in chunks of 75, cut at a comma where one is near, each between a start and an end mark (A1111)."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from enogu.core.networks.chunks import CHUNK_TOKENS
from enogu.core.networks.tokenizer import BOS, EOS, tokenize
from enogu.sample.attention import BREAK, Fragment

COMMA_BACKTRACK = 20  # how far back A1111 looks for a comma to cut at


@dataclass(frozen=True)
class Chunk:
    """77 token ids and as many weights."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]


def chunks(fragments: Iterable[Fragment]) -> list[Chunk]:
    """Cut fragments into at least one chunk; each fragment is tokenised by itself."""
    (comma,) = tokenize(",")
    cutter = _Cutter(comma)
    for fragment in fragments:
        if fragment == BREAK:
            cutter.close()
        else:
            for token in tokenize(fragment.text):
                cutter.add(token, fragment.weight)
    if cutter.open or not cutter.closed:
        cutter.close()
    return cutter.closed


def empty_chunk() -> Chunk:
    """Return the chunk of an empty prompt."""
    return _framed([])


@dataclass
class _Cutter:
    """A1111's state machine: the open chunk, and where its last comma stands."""

    comma: int
    closed: list[Chunk] = field(default_factory=list)
    open: list[tuple[int, float]] = field(default_factory=list)
    last_comma: int | None = None  # where it stands among the open tokens

    def add(self, token: int, weight: float) -> None:
        """Append a token, closing the chunk first if it is full."""
        full = len(self.open) == CHUNK_TOKENS
        if token == self.comma:
            self.last_comma = len(self.open)
        elif full and self.last_comma is not None and CHUNK_TOKENS - self.last_comma <= COMMA_BACKTRACK:
            cut = self.last_comma + 1
            self.open, carried = self.open[:cut], self.open[cut:]
            self.close()
            self.open = carried
        if len(self.open) == CHUNK_TOKENS:
            self.close()
        self.open.append((token, weight))

    def close(self) -> None:
        """Frame the open chunk and begin another."""
        self.closed.append(_framed(self.open))
        self.open, self.last_comma = [], None


def _framed(tokens: list[tuple[int, float]]) -> Chunk:
    padding = CHUNK_TOKENS - len(tokens)
    return Chunk(
        (BOS, *(token for token, _ in tokens), *[EOS] * padding, EOS),
        (1.0, *(weight for _, weight in tokens), *[1.0] * padding, 1.0),
    )
