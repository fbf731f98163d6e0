"""Axes: round ticks, and the map from values to drawing units."""

import math
from collections.abc import Callable

ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return at most `most` + 1 round values that lie within [low, high]."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in ROUND if power * factor >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def scale(low: float, high: float, *, start: float, end: float) -> Callable[[float], float]:
    """Return the linear map that takes [low, high] to [start, end]."""
    span = (high - low) or 1.0
    return lambda value: round(start + (value - low) / span * (end - start), 2)


def short(value: float) -> str:
    """Write a number for an axis: 1200 as 1.2k, 0.0001 as 1e-4."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1000:
        unit, word = (1e6, "M") if size >= 1e6 else (1e3, "k")
        return f"{value / unit:.3g}{word}"
    if size >= 1e-3:
        return f"{value:.3g}"
    mantissa, _, power = f"{value:.1e}".partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(power)}"


def duration(seconds: float) -> str:
    """Write a time span as people say it: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def thousands(count: int) -> str:
    """Write a count with thin spaces: 12 800."""
    return f"{count:,}".replace(",", "\u202f")


def counted(count: int, name: str) -> str:
    """Write a count of things: 1 prompt, 20 prompts."""
    return f"{thousands(count)} {name}{'' if count == 1 else 's'}"


def signed(value: float) -> str:
    """Write a difference: +0.71 or −0.05."""
    return f"{value:+.2f}".replace("-", "−")
