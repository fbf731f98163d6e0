"""Charts: pure functions from numbers to SVG; colours are the classes `p0`, `p1`, ... of the style sheet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from enogu.judge.report.scales import scale, short, ticks
from enogu.judge.report.svg import Axis, drawing, element, frame, path, text

WIDE, NARROW = 480.0, 320.0  # drawing units are pixels where a chart has half, or a third, of the page

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """A named line; `style` is one of line, faint (no legend) and dots (a line with its points)."""

    name: str
    points: Sequence[Point]
    paint: str
    style: str = "line"


@dataclass(frozen=True)
class Band:
    """A named stretch of the horizontal axis."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Chart:
    """A drawing, what its colours mean, and what it shows in a sentence."""

    title: str
    svg: Markup
    legend: tuple[tuple[str, str], ...] = ()
    note: str = ""
    aside: str = ""  # small, behind the title


@dataclass(frozen=True)
class Row:
    """One model of a dot plot."""

    name: str
    paint: str
    mean: float
    low: float
    high: float
    seeds: Sequence[float]


def lines(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    bands: Sequence[Band] = (),
    note: str = "",
    zero: bool = False,
    width: float = WIDE,
) -> Chart:
    """Draw series over one axis; bands mark phases, `zero` keeps 0 in sight."""
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points] + ([0.0] if zero else [])
    room = (max(ys) - min(ys)) * 0.06 or abs(max(ys)) * 0.1 or 1.0
    low = min(ys) - (0 if zero and min(ys) >= 0 else room)
    plot = frame(Axis(x_label, min(xs), max(xs)), Axis(y_label, low, max(ys) + room), width=width)
    parts = [*_bands(bands, plot.x, plot.bottom), *plot.parts]
    for one in series:
        places = [(plot.x(x), plot.y(y)) for x, y in one.points]
        parts.append(element("path", d=path(places), class_=f"line {one.style} {one.paint}"))
        if one.style == "dots" or len(places) == 1:
            parts += [
                element(
                    "circle",
                    element("title", f"{one.name}: {y:.4g} at {x:g}"),
                    cx=cx,
                    cy=cy,
                    r=3.2,
                    class_=f"dot {one.paint}",
                )
                for (x, y), (cx, cy) in zip(one.points, places, strict=True)
            ]
    legend = tuple((one.name, one.paint) for one in series if one.style != "faint")
    svg = drawing(
        parts, width=plot.width, height=plot.height, label=f"{title}: {', '.join(name for name, _ in legend)}"
    )
    return Chart(title, svg, legend if len(legend) > 1 else (), note)


def dots(title: str, rows: Sequence[Row], *, ceiling: float | None = None, note: str = "") -> Chart:
    """Draw a mean with its interval per row on an axis from 0 to 1, a small ring per seed, and the ceiling."""
    width, gap, left, top = WIDE, 34.0, 120.0, 26.0
    bottom = top + gap * len(rows)
    x = scale(0, 1, start=left, end=width - 46)
    parts: list[Markup] = []
    for value in ticks(0, 1, 4):
        parts.append(element("path", d=f"M{x(value):g},{top - 4:g}V{bottom:g}", class_="rule"))
        parts.append(text(short(value), x(value), bottom + 18, anchor="middle", class_="tick"))
    if ceiling is not None:
        parts.append(element("path", d=f"M{x(ceiling):g},{top - 4:g}V{bottom:g}", class_="ceiling"))
        parts.append(text(f"ceiling {ceiling:.2f}", x(ceiling), 12, anchor="end", class_="tick strong"))
    for index, row in enumerate(rows):
        parts += _dot_row(row, top + gap * (index + 0.5), x=x, width=width)
    told = "; ".join(f"{row.name} {row.mean:.2f}, {row.low:.2f} to {row.high:.2f}" for row in rows)
    return Chart(title, drawing(parts, width=width, height=bottom + 26, label=f"{title}: {told}"), note=note)


def _dot_row(row: Row, y: float, *, x: Callable[[float], float], width: float) -> list[Markup]:
    ends = f"M{x(row.low):g},{y:g}H{x(row.high):g}"
    told = element("title", f"{row.name}: {row.mean:.3f}, 95 % interval {row.low:.3f} to {row.high:.3f}")
    rings = [
        element(
            "circle", element("title", f"one seed: {seed:.3f}"), cx=x(seed), cy=y + 9, r=2.6, class_=f"ring {row.paint}"
        )
        for seed in row.seeds
    ]
    return [
        text(row.name, 0, y + 4, class_="name"),
        element("path", d=ends, class_=f"whisker {row.paint}"),
        *rings,
        element("circle", told, cx=x(row.mean), cy=y, r=6, class_=f"dot {row.paint}"),
        text(f"{row.mean:.2f}", width, y + 4, anchor="end", class_="value"),
    ]


def _bands(bands: Sequence[Band], x: Callable[[float], float], bottom: float) -> list[Markup]:
    parts = []
    for index, band in enumerate(bands):
        left, right = x(band.start), x(band.end)
        box = {"x": left, "y": 20, "width": max(right - left, 0), "height": bottom - 20}
        parts.append(element("rect", **box, class_=f"band b{index % 2}"))
        parts.append(text(band.name, (left + right) / 2, 14, anchor="middle", class_="tick"))
    return parts
