"""A drawing as text: elements with escaped attributes, and the frame of a chart."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from enogu.judge.report.scales import scale, short, ticks


def element(name: str, *children: str, **attributes: object) -> Markup:
    """Return an SVG element; `stroke_width=2` writes stroke-width, `class_` writes class, None writes nothing."""
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    written = "".join(f' {key}="{escape(str(value))}"' for key, value in pairs)
    inner = Markup("").join(escape(child) for child in children)
    return Markup(f"<{name}{written}>{inner}</{name}>")


def drawing(parts: Iterable[str], *, width: float, height: float, label: str) -> Markup:
    """Return a whole picture that a screen reader announces as `label`."""
    box = f"0 0 {width:g} {height:g}"
    return element("svg", *parts, viewBox=box, role="img", aria_label=label, style=f"--w:{width:g}px")


def text(words: str, x: float, y: float, *, anchor: str = "start", class_: str | None = None) -> Markup:
    """Return a line of words."""
    return element("text", words, x=x, y=y, text_anchor=anchor, class_=class_)


def path(points: Sequence[tuple[float, float]]) -> str:
    """Return the `d` of a polyline."""
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in points)


@dataclass(frozen=True)
class Axis:
    """What is measured, from where to where; `marks` are places with their words, round numbers if None."""

    label: str
    low: float
    high: float
    marks: tuple[tuple[float, str], ...] | None = None

    def ticks(self, most: int) -> Sequence[tuple[float, str]]:
        """Return places and what is written there."""
        if self.marks is not None:
            return self.marks
        return [(value, short(value)) for value in ticks(self.low, self.high, most)]


def decades(label: str, most: float) -> Axis:
    """Return a logarithmic axis from 1 to `most`, whose places are powers of ten."""
    factors = (1, 2, 5) if most < 200 else (1,)
    values = [factor * 10**power for power in range(1 + int(math.log10(most))) for factor in factors]
    marks = tuple((math.log10(value), short(value)) for value in values if value <= most)
    return Axis(label, 0, math.log10(most), marks)


@dataclass(frozen=True)
class Frame:
    """The plotting area of a chart and its two maps from values to places."""

    width: float
    height: float
    bottom: float
    x: Callable[[float], float]
    y: Callable[[float], float]
    parts: tuple[Markup, ...]


def frame(x_axis: Axis, y_axis: Axis, *, width: float, height: float = 230) -> Frame:
    """Return a frame with horizontal rules, ticks and axis labels."""
    left, right, top, bottom = 46.0, width - 16, 24.0, height - 38
    x = scale(x_axis.low, x_axis.high, start=left, end=right)
    y = scale(y_axis.low, y_axis.high, start=bottom, end=top)
    parts = [text(y_axis.label, 0, 10, class_="axis")]
    parts.append(text(x_axis.label, right, height - 4, anchor="end", class_="axis"))
    for value, words in y_axis.ticks(5):
        parts.append(element("path", d=f"M{left:g},{y(value):g}H{right:g}", class_="rule"))
        parts.append(text(words, left - 8, y(value) + 4, anchor="end", class_="tick"))
    parts += [text(words, x(value), bottom + 18, anchor="middle", class_="tick") for value, words in x_axis.ticks(6)]
    return Frame(width, height, bottom, x, y, tuple(parts))
