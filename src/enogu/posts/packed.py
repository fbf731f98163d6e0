"""Dumps as they come: plain or packed, read in blocks of whole lines, also when the end is missing."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, cast

BLOCK = 32 << 20  # bytes of text looked at in one go
PIECE = 1 << 20  # bytes unpacked at a time
LONGEST = 256 << 20  # bytes of one line; what is longer is no post
PACKED: MappingProxyType[str, Callable[[Path], object]] = MappingProxyType(
    {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
)
BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError)  # what unpacking a damaged file may raise


@dataclass(frozen=True)
class Block:
    """Some whole lines."""

    text: bytes
    end: int  # where the next block begins, in bytes of unpacked text
    fault: str = ""  # why nothing comes behind it, if that is not the end of the file


def opened(path: Path) -> BinaryIO:
    """Open a file, unpacking it by its suffix."""
    opener = PACKED.get(path.suffix.lower())
    return cast(BinaryIO, opener(path)) if opener else path.open("rb")


def suffix(path: Path) -> str:
    """Return the suffix of what is in a file: .csv for posts.csv.gz."""
    inner = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return inner.suffix.lower()


def blocks(path: Path, start: int = 0) -> Iterator[Block]:
    """Yield a file from a place on, in blocks of whole lines; the last line may lack its end."""
    with opened(path) as handle:
        handle.seek(start)
        held, size, end = [b""], 0, start
        for piece in pieces(handle, min(PIECE, BLOCK)):
            if isinstance(piece, str):
                text = b"".join(held)
                yield Block(text, end + len(text), fault=piece)
                return
            held.append(piece)
            size += len(piece)
            cut = piece.rfind(b"\n") + 1
            if size < BLOCK or not (cut or size > LONGEST):
                continue
            text = b"".join([*held[:-1], piece[:cut]])
            end += len(text)
            yield Block(text, end)
            held, size = [piece[cut:]], len(piece) - cut
        if text := b"".join(held):
            yield Block(text, end + len(text))


def head(path: Path, size: int) -> bytes:
    """Return the beginning of a file, as far as it can be unpacked."""
    text = b""
    with opened(path) as handle:
        for piece in pieces(handle, size):
            if isinstance(piece, str) or len(text) >= size:
                break
            text += piece
    return text[:size]


def pieces(handle: BinaryIO, size: int) -> Iterator[bytes | str]:
    """Yield what can be read, and then, if reading failed, why."""
    while True:
        try:
            piece = cast(io.BufferedReader, handle).read1(size)
        except BROKEN as error:
            yield f"the file is damaged from here on ({error})"
            return
        if not piece:
            return
        yield piece
