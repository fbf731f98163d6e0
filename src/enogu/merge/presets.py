"""Named curves of block weights, generated for any number of blocks (after those of SuperMerger and meh)."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from enogu.core.records.errors import unknown

STEPS = 24.0  # the published lists have 25 numbers from IN00 to OUT11


def _fold(value: float) -> float:
    """Fold a number into a zigzag of [0, 1]."""
    value %= 2.0
    return 2.0 - value if value > 1.0 else value


def _smooth(x: float) -> float:
    return x * x * (3.0 - 2.0 * x)


def _hermite(x: float) -> float:
    """Return the cubic through 0, 1/2 and 1 that was fitted to the published list."""
    return 0.5 - 7.0 / 12.0 * (x - 0.5) + 19.0 / 3.0 * (x - 0.5) ** 3


def _edge(x: float) -> float:
    """Return the distance from the nearer end, in steps of the published lists."""
    return STEPS * min(x, 1.0 - x)


def _within(value: float, low: float, high: float) -> float:
    return float(low < value < high)


_CURVES: Final[Mapping[str, Callable[[float], float]]] = {
    "GRAD_V": lambda x: abs(2.0 * x - 1.0),
    "GRAD_A": lambda x: 1.0 - abs(2.0 * x - 1.0),
    "FLAT_25": lambda x: 0.25,
    "FLAT_75": lambda x: 0.75,
    "WRAP08": lambda x: _within(_edge(x), -1.0, 3.5),
    "WRAP12": lambda x: _within(_edge(x), -1.0, 5.5),
    "WRAP14": lambda x: _within(_edge(x), -1.0, 6.5),
    "WRAP16": lambda x: _within(_edge(x), -1.0, 7.5),
    "MID12_50": lambda x: 0.5 * _within(STEPS * x, 4.5, 18.5),
    "OUT07": lambda x: _within(STEPS * x, 17.5, 25.0),
    "OUT12": lambda x: _within(STEPS * x, 12.5, 25.0),
    "OUT12_5": lambda x: 0.5 * _within(STEPS * x, 11.5, 25.0) + 0.5 * _within(STEPS * x, 12.5, 25.0),
    "RING08_SOFT": lambda x: min(max(min(_edge(x) - 4.0, 10.0 - _edge(x)) / 2.0, 0.0), 1.0),
    "RING08_5": lambda x: _within(_edge(x), 5.5, 9.5),
    "RING10_5": lambda x: _within(_edge(x), 4.5, 9.5),
    "RING10_3": lambda x: _within(_edge(x), 5.5, 10.5),
    "SMOOTHSTEP": _smooth,
    "REVERSE_SMOOTHSTEP": lambda x: 1.0 - _smooth(x),
    "SMOOTHSTEP*2": lambda x: _fold(2.0 * _smooth(x)),
    "R_SMOOTHSTEP*2": lambda x: 1.0 - _fold(2.0 * _smooth(x)),
    "SMOOTHSTEP*3": lambda x: _fold(3.0 * _smooth(x)),
    "R_SMOOTHSTEP*3": lambda x: 1.0 - _fold(3.0 * _smooth(x)),
    "SMOOTHSTEP*4": lambda x: _fold(4.0 * _smooth(x)),
    "R_SMOOTHSTEP*4": lambda x: 1.0 - _fold(4.0 * _smooth(x)),
    "SMOOTHSTEP/2": lambda x: _smooth(_fold(2.0 * x)),
    "R_SMOOTHSTEP/2": lambda x: 1.0 - _smooth(_fold(2.0 * x)),
    "SMOOTHSTEP/3": lambda x: _smooth(_fold(3.0 * x)),
    "R_SMOOTHSTEP/3": lambda x: 1.0 - _smooth(_fold(3.0 * x)),
    "SMOOTHSTEP/4": lambda x: _smooth(_fold(4.0 * x)),
    "R_SMOOTHSTEP/4": lambda x: 1.0 - _smooth(_fold(4.0 * x)),
    "COSINE": lambda x: (1.0 + math.cos(math.pi * x)) / 2.0,
    "REVERSE_COSINE": lambda x: (1.0 - math.cos(math.pi * x)) / 2.0,
    "TRUE_CUBIC_HERMITE": lambda x: _hermite(x) + (1.0 - _smooth(x)) / STEPS if x else 0.0,
    "TRUE_REVERSE_CUBIC_HERMITE": lambda x: 1.0 - _hermite(x) - (1.0 - _smooth(x)) / STEPS if x else 1.0,
    "FAKE_CUBIC_HERMITE": _hermite,
    "FAKE_REVERSE_CUBIC_HERMITE": lambda x: 1.0 - _hermite(x),
    "ALL_A": lambda x: 0.0,
    "ALL_B": lambda x: 1.0,
}

PRESETS: Final[Sequence[str]] = tuple(_CURVES)


def is_preset(name: str) -> bool:
    """Return whether a name is that of a preset, in either case and spelling."""
    return _plain(name) in _CURVES


def preset(name: str, count: int) -> list[float]:
    """Return a curve sampled at `count` blocks from the first IN to the last OUT, without BASE."""
    if not is_preset(name):
        raise unknown("preset of block weights", name, PRESETS)
    return [_CURVES[_plain(name)](i / (count - 1)) for i in range(count)]


def gradient(points: Sequence[float], count: int) -> list[float]:
    """Return `count` numbers on straight lines through points at equal distances (mergekit's gradients)."""
    return resample([*points, *points] if len(points) == 1 else points, count)


def resample(curve: Sequence[float], count: int) -> list[float]:
    """Return a curve drawn again with `count` numbers, straight between its own; both ends stay."""
    if len(curve) < 2 or count < 2:
        return [*curve[:1]] * count
    steps = [i * (len(curve) - 1) / (count - 1) for i in range(count)]
    lower = [min(int(step), len(curve) - 2) for step in steps]
    return [curve[i] + (step - i) * (curve[i + 1] - curve[i]) for i, step in zip(lower, steps, strict=True)]


def _plain(name: str) -> str:
    return name.upper().replace("-", "_")
