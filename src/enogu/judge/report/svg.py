"""A drawing as text: elements with escaped attributes, and the frame of a chart."""

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
class Frame:
    """The plotting area of a chart and its two maps from values to places."""

    width: float
    height: float
    left: float
    bottom: float
    x: Callable[[float], float]
    y: Callable[[float], float]
    parts: tuple[Markup, ...]


def frame(
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    *,
    x_label: str,
    y_label: str,
    width: float,
    height: float = 230,
) -> Frame:
    """Return a frame with horizontal rules, ticks and axis labels."""
    left, right, top, bottom = 46.0, width - 10, 24.0, height - 38
    x, y = scale(*x_range, start=left, end=right), scale(*y_range, start=bottom, end=top)
    parts = [text(y_label, 0, 10, class_="axis")]
    parts.append(text(x_label, right, height - 4, anchor="end", class_="axis"))
    for value in ticks(*y_range, most=5):
        parts.append(element("path", d=f"M{left:g},{y(value):g}H{right:g}", class_="rule"))
        parts.append(text(short(value), left - 8, y(value) + 4, anchor="end", class_="tick"))
    parts += [text(short(value), x(value), bottom + 18, anchor="middle", class_="tick") for value in ticks(*x_range)]
    return Frame(width, height, left, bottom, x, y, tuple(parts))
