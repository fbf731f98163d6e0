"""Bars: histograms, with strips of quantiles below, and stacked shares."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup

from enogu.judge.report.charts import NARROW, WIDE, Chart
from enogu.judge.report.scales import short, thousands, ticks
from enogu.judge.report.svg import Axis, Frame, drawing, element, frame, text

STRIP = 15.0  # height of a strip of quantiles
LABELS = 7  # at most below a histogram
WHOLE = 9999  # edges are written in full up to here, and to three figures above
LEAST = 0.11  # of a bar: a smaller share is not written into it


@dataclass(frozen=True)
class Strip:
    """The 5, 25, 50, 75 and 95 % quantiles of a part of what a histogram shows."""

    name: str
    paint: str
    quantiles: tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Stack:
    """A bar of parts: name, paint and count of each."""

    name: str
    parts: Sequence[tuple[str, str, int]]


def evenly(edges: Sequence[float]) -> bool:
    """Tell whether all bars are of one width."""
    return len({round(end - start, 9) for start, end in pairwise(edges)}) < 2


def along(label: str, edges: Sequence[float]) -> Axis:
    """Return the axis of a histogram, in bars: every edge is written where they are not evenly spaced."""
    if not evenly(edges):
        marks = [(float(place), short(edge) if edge > WHOLE else f"{edge:g}") for place, edge in enumerate(edges)]
        marks = marks[:: -(-len(edges) // LABELS)]
    else:
        marks = [(_place(value, edges), short(value)) for value in ticks(edges[0], edges[-1])]
    return Axis(label, 0, len(edges) - 1, tuple(marks))


def columns(
    title: str,
    edges: Sequence[float],
    counts: Sequence[int],
    *,
    axis: Axis,
    limits: Sequence[float] = (),
    strips: Sequence[Strip] = (),
    note: str = "",
    width: float = WIDE,
) -> Chart:
    """Draw a histogram; `edges` has one value more than `counts`; limits are drawn dashed, strips below."""
    plot = frame(axis, Axis("posts", 0, max([*counts, 1])), width=width)
    parts = list(plot.parts)
    for bar, ((start, end), count) in enumerate(zip(pairwise(edges), counts, strict=True)):
        left, top = plot.x(bar) + 0.75, plot.y(count)
        box = {"x": left, "y": top, "width": max(plot.x(bar + 1) - left - 0.75, 1)}
        told = element("title", f"{start:g} to {end:g}: {count:,}")
        parts.append(element("rect", told, **box, height=round(plot.bottom - top, 2), class_="fill p0"))
    for limit in limits:
        at = plot.x(_place(limit, edges))
        parts.append(element("path", d=f"M{at:g},20V{plot.bottom:g}", class_="ceiling"))
        parts.append(text(short(limit), at, 14, anchor="middle", class_="tick strong"))
    for row, strip in enumerate(strips):
        parts += _strip(strip, edges, plot, y=plot.height + STRIP * (row + 0.7))
    height = plot.height + STRIP * len(strips)
    legend = tuple((strip.name, strip.paint) for strip in strips)
    return Chart(title, drawing(parts, width=plot.width, height=height, label=title), legend, note)


def stacks(title: str, rows: Sequence[Stack], *, note: str = "") -> Chart:
    """Draw each row as one bar of the whole width, divided into shares."""
    width, gap, thick = NARROW, 50.0, 20.0
    parts: list[Markup] = []
    for index, row in enumerate(rows):
        top, total = gap * index, sum(count for *_, count in row.parts)
        parts.append(text(row.name, 0, top + 12))
        parts.append(text(thousands(total), width, top + 12, anchor="end", class_="value"))
        left = 0.0
        for name, paint, count in row.parts:
            share = count / max(total, 1)
            box = {"x": round(left, 2), "y": top + 18, "width": round(max(width * share - 1.5, 0.5), 2)}
            told = element("title", f"{row.name}, {name}: {count:,} ({share:.1%})")
            parts.append(element("rect", told, **box, height=thick, rx=2, class_=f"fill {paint}"))
            if share >= LEAST:
                parts.append(text(f"{share:.0%}", left + 7, top + 32, class_="inside"))
            left += width * share
    legend = tuple(dict.fromkeys((name, paint) for row in rows for name, paint, _ in row.parts))
    height = gap * len(rows) - (gap - thick - 18)
    return Chart(title, drawing(parts, width=width, height=height, label=title), legend, note)


def _strip(strip: Strip, edges: Sequence[float], plot: Frame, *, y: float) -> list[Markup]:
    low, quarter, middle, most, high = (plot.x(_place(value, edges)) for value in strip.quantiles)
    told = "5, 25, 50, 75 and 95 %: " + ", ".join(f"{value:g}" for value in strip.quantiles)
    return [
        element("path", d=f"M{low:g},{y:g}H{high:g}", class_=f"whisker thin {strip.paint}"),
        element("path", d=f"M{quarter:g},{y:g}H{most:g}", class_=f"whisker wide {strip.paint}"),
        element("circle", element("title", f"{strip.name}: {told}"), cx=middle, cy=y, r=4, class_=f"dot {strip.paint}"),
    ]


def _place(value: float, edges: Sequence[float]) -> float:
    return float(np.interp(value, edges, range(len(edges))))
