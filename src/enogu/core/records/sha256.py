"""SHA-256 of several streams on one core.

A round waits for the round before, so one stream leaves a processor's SHA instructions idle for a third of the time
and more. Here the rounds of two streams take turns. Where a processor has no such instructions, hashlib does all.
Source: FIPS 180-4; for the order of the state, SHA256RNDS2 in Intel's Software Developer's Manual, volume 2.
"""

import ctypes
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from functools import cache
from typing import Any, Protocol

import numpy as np

from enogu.core.records.native import addresses, call, has, native

BLOCK = 64  # bytes
LANES = 2  # streams that take turns; more are no faster
TURN = 1 << 19  # bytes after which those that wait are hashed
WORD = (1 << 32) - 1
PRIMES = [n for n in range(2, 312) if all(n % divisor for divisor in range(2, n))]
START = [math.isqrt(prime << 64) & WORD for prime in PRIMES[:8]]  # fractions of square roots: a to h
ROUNDS = [int(math.cbrt(prime) * 2**32) & WORD for prime in PRIMES]  # fractions of cube roots
ORDER = ["abcdefgh".index(letter) for letter in "febahgdc"]  # of a state in the processor's registers

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Views = Iterable[memoryview]


class Digests(Protocol):
    """The SHA-256 of so many streams."""

    def update(self, streams: Sequence[Views]) -> None:
        """Take in what each stream brings; a view is done with when the next of its stream is asked for."""

    def hexdigests(self) -> list[str]:
        """Return the hashes, in hex."""


def digests(count: int) -> Digests:
    """Return the hashes of `count` streams of no bytes yet."""
    return Interleaved(count) if min(count, lanes()) > 1 else Separate(count)


@cache
def lanes() -> int:
    """Return how many streams a core hashes at once."""
    return LANES if has("sha", "sse4.1") else 1


class Separate:
    """Hashes one stream after the other."""

    def __init__(self, count: int) -> None:
        """Begin with no bytes."""
        self._digests = [hashlib.sha256() for _ in range(count)]

    def update(self, streams: Sequence[Views]) -> None:
        """Take in what each stream brings."""
        for digest, views in zip(self._digests, streams, strict=True):
            for view in views:
                digest.update(view)

    def hexdigests(self) -> list[str]:
        """Return the hashes, in hex."""
        return [digest.hexdigest() for digest in self._digests]


class Interleaved:
    """Hashes streams in turns."""

    def __init__(self, count: int) -> None:
        """Begin with no bytes."""
        self._streams = [_Stream() for _ in range(count)]

    def update(self, streams: Sequence[Views]) -> None:
        """Take in what each stream brings."""
        for stream, views in zip(self._streams, streams, strict=True):
            stream.bring(views)
        _compress(self._streams)

    def hexdigests(self) -> list[str]:
        """Return the hashes, in hex."""
        return [stream.hexdigest() for stream in self._streams]


class _Stream:
    """A state, what comes next, and the whole blocks of that which are at hand."""

    def __init__(self) -> None:
        self.state = np.array([START[index] for index in ORDER], np.uint32)
        self.blocks = np.empty(0, np.uint8)
        self._coming: Iterator[Bytes] = iter(())
        self._rest, self._length = b"", 0

    def bring(self, views: Views) -> None:
        """Have these bytes come next."""
        self._coming = self._whole(views)

    def ready(self) -> int:
        """Return how many bytes are at hand; 0 when the stream has brought all."""
        while not len(self.blocks) and (blocks := next(self._coming, None)) is not None:
            self.blocks = blocks
        return len(self.blocks)

    def hexdigest(self) -> str:
        """Return the hash of all that was taken in, in hex."""
        twin = copy(self)
        twin.state = self.state.copy()
        padding = b"\x80" + bytes(-(self._length + 9) % BLOCK) + (8 * self._length).to_bytes(8, "big")
        twin.bring([memoryview(padding)])
        _compress([twin])
        return twin.state[np.argsort(ORDER)].astype(">u4").tobytes().hex()

    def _whole(self, views: Views) -> Iterator[Bytes]:
        for view in views:
            self._length += len(view)
            missing = -len(self._rest) % BLOCK
            self._rest += view[:missing]
            if len(self._rest) == BLOCK:
                yield np.frombuffer(self._rest, np.uint8)
                self._rest = b""
            if not self._rest:
                left = view[missing:]
                whole = len(left) // BLOCK * BLOCK
                self._rest = bytes(left[whole:])
                yield np.asarray(left[:whole])


def _compress(streams: Sequence[_Stream]) -> None:
    """Take in all that is brought."""
    queue = [stream for stream in streams if stream.ready()]
    while queue:
        turn, queue = queue[:LANES], queue[LANES:]
        nbytes = min(map(_Stream.ready, turn))
        nbytes = min(nbytes, TURN) if queue else nbytes
        states = [stream.state.ctypes.data for stream in turn]
        blocks = [stream.blocks.ctypes.data for stream in turn]
        _kernel(len(turn))(addresses(states), addresses(blocks), nbytes)
        for stream in turn:
            stream.blocks = stream.blocks[nbytes:]
        queue += [stream for stream in turn if stream.ready()]


@cache
def _kernel(streams: int) -> Callable[..., None]:
    """Return compiled code that takes as many bytes into each state: (states, bytes, number of bytes)."""
    return native(_code(streams), None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


def _code(streams: int) -> Any:
    from llvmlite import ir

    number, pointers = ir.IntType(64), ir.IntType(8).as_pointer().as_pointer()
    vector = ir.VectorType(ir.IntType(32), 4)
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointers, pointers, number]), "compress")
    begin, loop, end = (function.append_basic_block() for _ in range(3))
    build = ir.IRBuilder(begin)

    def step(name: str, *words: Any) -> Any:
        return call(build, f"llvm.x86.sha256{name}", vector, *words)

    def picked(low: Any, high: Any, order: list[int]) -> Any:
        return build.shuffle_vector(low, high, ir.Constant(vector, order))

    def vectors(pointer: Any, count: int, start: Any) -> list[Any]:
        places = [build.gep(pointer, [build.add(start, number(16 * index))]) for index in range(count)]
        return [build.bitcast(place, vector.as_pointer()) for place in places]

    def read(place: Any) -> Any:
        return call(build, "llvm.bswap.v4i32", vector, build.load(place, align=1))

    states, blocks, nbytes = function.args
    sources = [build.load(build.gep(blocks, [number(index)])) for index in range(streams)]
    opened = [build.load(build.gep(states, [number(index)])) for index in range(streams)]
    halves = [half for state in opened for half in vectors(state, 2, number(0))]
    given = [build.load(half, align=4) for half in halves]
    build.branch(loop)

    build.position_at_end(loop)
    position, before = build.phi(number), [build.phi(vector) for _ in given]
    words, now = [[read(place) for place in vectors(source, 4, position)] for source in sources], list(before)
    for group in range(16):  # of four rounds
        for index, word in enumerate(words):
            low, high = 2 * index, 2 * index + 1
            w0, w1, w2, w3 = word[group % 4 :] + word[: group % 4]
            added = build.add(w0, ir.Constant(vector, ROUNDS[4 * group : 4 * group + 4]))
            now[high] = step("rnds2", now[high], now[low], added)
            now[low] = step("rnds2", now[low], now[high], picked(added, added, [2, 3, 0, 0]))
            partial = build.add(step("msg1", w0, w1), picked(w2, w3, [1, 2, 3, 4]))
            word[group % 4] = step("msg2", partial, w3)  # nothing asks for the last four, so LLVM leaves them out
    after = [build.add(x, y) for x, y in zip(before, now, strict=True)]
    following = build.add(position, number(BLOCK))
    build.cbranch(build.icmp_unsigned("<", following, nbytes), loop, end)
    for phi, first, later in zip([position, *before], [number(0), *given], [following, *after], strict=True):
        phi.add_incoming(first, begin)
        phi.add_incoming(later, loop)

    build.position_at_end(end)
    for half, value in zip(halves, after, strict=True):
        build.store(value, half, align=4)
    build.ret_void()
    return module
