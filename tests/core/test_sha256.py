"""Hashes of several streams at once, against hashlib's of each."""

import hashlib
from collections.abc import Iterator
from random import Random

import pytest

from enogu.core.records import sha256
from enogu.core.records.sha256 import Interleaved, Separate, digests, lanes

NATIVE = pytest.param(Interleaved, marks=pytest.mark.skipif(lanes() == 1, reason="no SHA instructions here"))


def in_pieces(data: bytes, random: Random) -> Iterator[memoryview]:
    """Yield bytes through one buffer that is overwritten as soon as the next piece is asked for."""
    room, start = bytearray(len(data)), 0
    while start < len(data):
        count = random.choice([0, 1, 55, 63, 64, 65, 1000, len(data)])
        piece = data[start : start + count]
        room[:] = bytes(len(room))
        room[: len(piece)] = piece
        yield memoryview(room)[: len(piece)]
        start += len(piece)


@pytest.mark.parametrize("kind", [Separate, NATIVE])
@pytest.mark.parametrize("count", range(6))
def test_every_stream_has_the_hash_that_hashlib_gives_it(kind, count, monkeypatch):
    monkeypatch.setattr(sha256, "TURN", 192)
    random = Random(count)
    for length in (0, 3, 55, 56, 63, 64, 65, 119, 128, 5000):
        streams = [random.randbytes(random.choice([0, length, length + 64])) for _ in range(count)]
        found, told = kind(count), [b""] * count
        for _ in range(3):
            found.update([in_pieces(stream, random) for stream in streams])
            told = [before + stream for before, stream in zip(told, streams, strict=True)]
            wanted = [hashlib.sha256(stream).hexdigest() for stream in told]
            assert found.hexdigests() == found.hexdigests() == wanted


def test_a_stream_alone_is_left_to_hashlib_and_so_is_a_processor_without_the_instructions(monkeypatch):
    assert isinstance(digests(1), Separate)
    monkeypatch.setattr(sha256, "lanes", lambda: 1)
    assert isinstance(digests(2), Separate)
    monkeypatch.setattr(sha256, "lanes", lambda: 2)
    assert isinstance(digests(2), Interleaved)
