"""Named curves of block weights, generated for any number of blocks (after those of SuperMerger and meh)."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final


def _mirror(x: float, times: int) -> float:
    """Fold [0, times] into a zigzag of [0, 1]."""
    y = (x * times) % 2.0
    return 2.0 - y if y > 1.0 else y


def _smooth(x: float) -> float:
    return x * x * (3.0 - 2.0 * x)


def _repeat(x: float, times: int) -> float:
    return 1.0 if x == 1.0 else (x * times) % 1.0


_CURVES: Final[Mapping[str, Callable[[float], float]]] = {
    "GRAD_V": lambda x: abs(2.0 * x - 1.0),
    "GRAD_A": lambda x: 1.0 - abs(2.0 * x - 1.0),
    "FLAT_25": lambda x: 0.25,
    "FLAT_75": lambda x: 0.75,
    "WRAP08": lambda x: float(min(x, 1.0 - x) < 4 / 25),
    "WRAP12": lambda x: float(min(x, 1.0 - x) < 6 / 25),
    "WRAP14": lambda x: float(min(x, 1.0 - x) < 7 / 25),
    "WRAP16": lambda x: float(min(x, 1.0 - x) < 8 / 25),
    "OUT07": lambda x: float(x > 1 - 7 / 25),
    "OUT12": lambda x: float(x > 1 - 12 / 25),
    "SMOOTHSTEP": _smooth,
    "REVERSE_SMOOTHSTEP": lambda x: 1.0 - _smooth(x),
    "SMOOTHSTEP_X2": lambda x: _smooth(_mirror(x, 2)),
    "SMOOTHSTEP_X3": lambda x: _smooth(_mirror(x, 3)),
    "SMOOTHSTEP_X4": lambda x: _smooth(_mirror(x, 4)),
    "SMOOTHSTEP_R2": lambda x: _smooth(_repeat(x, 2)),
    "SMOOTHSTEP_R3": lambda x: _smooth(_repeat(x, 3)),
    "SMOOTHSTEP_R4": lambda x: _smooth(_repeat(x, 4)),
    "COSINE": lambda x: (1.0 + math.cos(math.pi * x)) / 2.0,
    "REVERSE_COSINE": lambda x: (1.0 - math.cos(math.pi * x)) / 2.0,
    "ALL_A": lambda x: 0.0,
    "ALL_B": lambda x: 1.0,
}

PRESETS: Final[Sequence[str]] = tuple(_CURVES)


def preset(name: str, count: int) -> list[float]:
    """Return a curve sampled at `count` blocks from the first IN to the last OUT, without BASE."""
    return [_CURVES[name](i / (count - 1)) for i in range(count)]
