"""Loops over elements, compiled on first use: what takes torch a dozen passes, each of which hands Python's lock over.

Compiled code is kept beside the sources, or where the user's caches are. Threads run it side by side.
"""

from collections.abc import Callable
from functools import cached_property
from types import FunctionType
from typing import Any, Generic, ParamSpec, TypeVar, cast

import numpy as np

Array = np.ndarray[Any, Any]
P = ParamSpec("P")
R = TypeVar("R")

BLOCK = 1024  # elements whose sums stay in a core's nearest cache
STRIP = 16  # elements that are looked at once more if one of them is wanted


class compiled(Generic[P, R]):  # noqa: N801 (a decorator)
    """A function that numba compiles, for each type of its arguments, when it is first called; it may call others."""

    def __init__(self, function: Callable[P, R]) -> None:
        """Begin with nothing compiled."""
        self._function = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it."""
        return self._ready(*args, **kwargs)

    @cached_property
    def _ready(self) -> Callable[P, R]:
        import numba

        assert isinstance(self._function, FunctionType)
        code, names = self._function.__code__, self._function.__globals__
        others = {name: other._ready for name in code.co_names if isinstance(other := names.get(name), compiled)}
        function = FunctionType(code, {**names, **others})
        options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
        try:
            made: Callable[P, R] = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # there is no folder to keep it in
            made = numba.njit(**options)(function)
        return made


class instruction(compiled[..., Any]):  # noqa: N801 (a decorator)
    """A step of compiled functions that processors have an instruction for."""

    @cached_property
    def _ready(self) -> Callable[..., Any]:
        from numba.extending import intrinsic

        return cast(Callable[..., Any], intrinsic(self._function))


@instruction
def widened(context: Any, bits: Any) -> Any:
    """Return the float32 of a half that is given by its 16 bits."""
    import numba
    from llvmlite import ir

    def generate(*given: Any) -> Any:
        _, builder, _, (value,) = given
        return builder.fpext(builder.bitcast(value, ir.HalfType()), ir.FloatType())

    return numba.types.float32(numba.types.uint16), generate


@instruction
def narrowed(context: Any, value: Any) -> Any:
    """Return the 16 bits of the half that is nearest to a float32."""
    import numba
    from llvmlite import ir

    def generate(*given: Any) -> Any:
        _, builder, _, (number,) = given
        return builder.bitcast(builder.fptrunc(number, ir.HalfType()), ir.IntType(16))

    return numba.types.uint16(numba.types.float32), generate


@compiled
def narrow(values: Array, bits: Array) -> bool:
    """Fill the 16 bits of halves with the nearest ones to float32 values; return whether all are finite."""
    largest = np.uint16(0)
    for i in range(len(bits)):
        half = narrowed(values[i])
        largest = max(largest, np.uint16(half & np.uint16(0x7FFF)))
        bits[i] = half
    return bool(largest < np.uint16(0x7C00))


@compiled
def differences(halves: tuple[Array, ...], base: Array, out: Array) -> None:
    """Fill rows with what halves, given by their 16 bits, differ by from those of a base, as float32."""
    for start in range(0, len(base), BLOCK):
        stop = min(start + BLOCK, len(base))
        for row in range(len(halves)):
            subtract(halves[row][start:stop], base[start:stop], out[row, start:stop])


@compiled
def subtract(bits: Array, base: Array, values: Array) -> None:
    """Fill float32 values with what halves differ by from others."""
    for i in range(len(bits)):
        values[i] = widened(bits[i]) - widened(base[i])


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
def voted(up: tuple[Any, Any], down: tuple[Any, Any], rule: tuple[bool, Any, Any]) -> Any:
    """Return the mean of what goes up or of what goes down, given by sum and count, whichever has more; 0 if neither.

    `rule` is whether mass decides, or else the count, and 0 and 1 in the type of the sums and counts.
    """
    by_mass, zero, one = rule
    mass = up[0] + down[0]
    lead = mass if by_mass or mass != mass else up[1] - down[1]
    total, count = up if lead > zero else down
    return zero if lead == zero else total / max(count, one)


@compiled
def elect(deltas: tuple[Array, ...], cuts: Array, by_mass: bool) -> Array:
    """Return the mean of the elements beyond their cut that have the elected sign; 0 where none is elected.

    The sign is that of the sum, or of the count of signs. What is not a number stays so.
    """
    mean = np.empty_like(deltas[0])
    zero, one = mean.dtype.type(0), mean.dtype.type(1)
    up, down = np.empty(BLOCK, mean.dtype), np.empty(BLOCK, mean.dtype)
    ups, downs = np.empty_like(up), np.empty_like(up)
    for start in range(0, len(mean), BLOCK):
        up[:], down[:], ups[:], downs[:] = zero, zero, zero, zero
        for row in range(len(deltas)):
            cut, delta = cuts[row], deltas[row][start : start + BLOCK]
            for i in range(len(delta)):
                up[i] += zero if delta[i] <= cut else delta[i]
                down[i] += zero if delta[i] >= -cut else delta[i]
                ups[i] += zero if delta[i] <= cut else one
                downs[i] += zero if delta[i] >= -cut else one
        out = mean[start : start + BLOCK]
        for i in range(len(out)):
            out[i] = voted((up[i], ups[i]), (down[i], downs[i]), (by_mass, zero, one))
    return mean


@compiled
def elect_between(
    halves: tuple[Array, ...], rule: tuple[Array, Array, bool], out: tuple[Array, Array, Array]
) -> tuple[int, Array, bool]:
    """Put into `out` the sums, as halves, of a base and what `elect` returns for the differences of others from it.

    `halves` are the base and the others, `rule` bounds of the cuts and whether mass elects; a difference between its
    bounds counts as one below. Next in `out` are the places where there is such a one, and what the base and the others
    hold there. Return how many places these are, how many differences are not below both bounds, and whether all sums
    are finite.
    """
    (low, high, by_mass), (sums, places, held), zero, one = rule, out, np.float32(0), np.float32(1)
    base, others = halves[0], halves[1:]
    mean, rows = np.empty(BLOCK, np.float32), np.empty((len(others), BLOCK), np.float32)
    beyond, between = np.zeros((len(others), BLOCK), np.int32), np.empty(BLOCK, np.uint8)
    count, finite = 0, True
    for start in range(0, len(base), BLOCK):
        stop = min(start + BLOCK, len(base))
        for row in range(len(others)):
            subtract(others[row][start:stop], base[start:stop], rows[row])
        for i in range(stop - start):
            up, down, ups, downs, some = zero, zero, zero, zero, False
            for row in range(len(others)):
                size = abs(rows[row, i])
                reaches = not size < high[row]
                beyond[row, i] += reaches
                some |= (size > low[row]) & (not reaches)
                kept = rows[row, i] if reaches else zero
                up += zero if kept <= zero else kept
                down += zero if kept >= zero else kept
                ups += np.float32(kept > zero)
                downs += np.float32(kept < zero)
            between[i] = some
            mean[i] = voted((up, ups), (down, downs), (by_mass, zero, one))
        stretch = base[start:stop]
        for i in range(len(stretch)):
            mean[i] += widened(stretch[i])
        finite &= narrow(mean, sums[start:stop])
        before = count
        for i in range(stop - start):
            places[count] = start + i  # to be written over, unless it counts
            count += between[i]
        for row in range(len(halves)):
            for k in range(before, count):
                held[row, k] = halves[row][places[k]]
    return count, beyond.sum(axis=1), finite
