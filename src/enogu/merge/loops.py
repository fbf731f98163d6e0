"""Loops over elements, compiled on first use: what takes torch a dozen passes, each of which hands Python's lock over.

Compiled code is kept beside the sources, or where the user's caches are. Threads run it side by side.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, ParamSpec, TypeVar

import numpy as np

Array = np.ndarray[Any, Any]
P = ParamSpec("P")
R = TypeVar("R")

BLOCK = 1024  # elements whose sums stay in a core's nearest cache
STRIP = 16  # elements that are looked at once more if one of them is wanted


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that numba compiles, for each type of its arguments, when it is first called."""

    @cache
    def ready() -> Callable[P, R]:
        import numba

        options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
        try:
            made: Callable[P, R] = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # there is no folder to keep it in
            made = numba.njit(**options)(function)
        return made

    return lambda *args, **kwargs: ready()(*args, **kwargs)


@compiled
def differences(halves: tuple[Array, ...], base: Array, out: Array) -> None:
    """Fill the rows of `out` with what halves, given by their 16 bits, differ by from those of a base, as float32."""
    least, wide = np.uint32(0x38800000).view(np.float32), np.empty(BLOCK, np.float32)  # least: 2 ** -14
    for start in range(0, len(base), BLOCK):
        for row in range(-1, len(halves)):
            bits = base[start : start + BLOCK] if row < 0 else halves[row][start : start + BLOCK]
            values = wide if row < 0 else out[row, start : start + BLOCK]
            for i in range(len(bits)):
                size = np.uint32((np.uint32(bits[i]) & np.uint32(0x7FFF)) << np.uint32(13))
                if size < np.uint32(0x00800000):  # below the least normal half
                    value = np.uint32(size + np.uint32(0x38800000)).view(np.float32) - least
                elif size < np.uint32(0x0F800000):
                    value = np.uint32(size + np.uint32(0x38000000)).view(np.float32)
                else:  # infinite, or not a number
                    value = np.uint32(size + np.uint32(0x70000000)).view(np.float32)
                values[i] = value if bits[i] < 0x8000 else -value
            if row >= 0:
                for i in range(len(bits)):
                    values[i] -= wide[i]


@compiled
def gather(values: Array, bounds: tuple[float, float], found: Array) -> tuple[int, int]:
    """Put the sizes between two bounds into `found`, which is as long; return how many are not below both, and they.

    What is not a number counts as not below.
    """
    low, high = bounds
    above, inside = 0, 0
    for start in range(0, len(values), STRIP):
        strip = values[start : start + STRIP]
        hits = 0
        for i in range(len(strip)):
            above += not abs(strip[i]) < high
            hits += (low < abs(strip[i])) & (abs(strip[i]) < high)
        if hits:
            for i in range(len(strip)):
                found[inside] = abs(strip[i])  # to be written over, unless it counts
                inside += (low < abs(strip[i])) & (abs(strip[i]) < high)
    return above, inside


@compiled
def elect(deltas: tuple[Array, ...], cuts: Array, by_mass: bool) -> Array:
    """Return the mean of the elements beyond their cut that have the elected sign; 0 where none is elected.

    The sign is that of the sum, or of the count of signs. What is not a number stays so.
    """
    mean = np.empty_like(deltas[0])
    number = mean.dtype.type
    up, down = np.empty(BLOCK, mean.dtype), np.empty(BLOCK, mean.dtype)
    ups, downs = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32)
    for start in range(0, len(mean), BLOCK):
        up[:], down[:], ups[:], downs[:] = 0, 0, 0, 0
        for row in range(len(deltas)):
            cut, delta = cuts[row], deltas[row][start : start + BLOCK]
            for i in range(len(delta)):
                up[i] += number(0) if delta[i] <= cut else delta[i]
                down[i] += number(0) if delta[i] >= -cut else delta[i]
                ups[i] += not delta[i] <= cut
                downs[i] += not delta[i] >= -cut
        out = mean[start : start + BLOCK]
        for i in range(len(out)):
            mass = up[i] + down[i]
            lead = mass if by_mass or mass != mass else number(ups[i] - downs[i])
            total, count = (up[i], ups[i]) if lead > 0 else (down[i], downs[i])
            out[i] = number(0) if lead == 0 else total / number(max(count, 1))
    return mean
