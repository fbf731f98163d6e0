"""A picture of how two checkpoints differ: a row per component and block, a column of bars per measure."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from PIL import Image, ImageDraw, ImageFont

ROW, TOP, LEFT, COLUMN, BAR = 18, 64, 110, 190, 110  # pixels
INK, PALE, LINE = "#222222", "#777777", "#dddddd"
COLOURS: Mapping[str, str] = {
    "unet": "#4878a8",
    "te1": "#c07840",
    "te2": "#b09030",
    "vae": "#5a9060",
    "other": "#888888",
}
SHARPNESS = 2  # pixels of a PNG per unit


@dataclass(frozen=True)
class Measure:
    """A column: its heading, its bar's length between 0 and 1 before scaling, and what is written beside the bar."""

    heading: str
    field: str
    inverted: bool = False
    whole: bool = False  # whether a full bar means 1; otherwise the longest bar is full

    def length(self, group: Mapping[str, Any]) -> float:
        """Return how long the bar is."""
        value = float(group[self.field])
        return max(1.0 - value, 0.0) if self.inverted else value

    def words(self, group: Mapping[str, Any]) -> str:
        """Return what is written beside the bar."""
        value = self.length(group)
        return f"{100 * value:.2g}%" if 0 < value < 1e-4 else f"{value:.2%}"


MEASURES = (
    Measure("L2 distance, relative", "relative"),
    Measure("1 - cosine", "cosine", inverted=True),
    Measure("signs turned", "signs", inverted=True, whole=True),
    Measure("elements changed", "changed", whole=True),
)


@dataclass(frozen=True)
class Shape:
    """A text, or a rectangle if it has a width."""

    x: float
    y: float
    text: str = ""
    width: float = 0.0
    height: float = 0.0
    colour: str = INK
    size: int = 11
    end: bool = False  # a text that ends at x


def shapes(found: Mapping[str, Any]) -> Iterator[Shape]:
    """Yield what the picture is made of."""
    groups = found["groups"]
    yield Shape(16, 14, f"{found['second']} against {found['first']}", size=14)
    for column, measure in enumerate(MEASURES):
        x = LEFT + column * COLUMN
        yield Shape(x, TOP - 22, measure.heading, colour=PALE)
        longest = max((measure.length(group) for group in groups), default=0.0)
        full = 1.0 if measure.whole else longest or 1.0
        for row, group in enumerate(groups):
            y, width = TOP + row * ROW, BAR * min(measure.length(group) / full, 1.0)
            yield Shape(x, y + 3, width=max(width, 1.0), height=ROW - 6, colour=COLOURS[group["component"]])
            yield Shape(x + width + 6, y + 3, measure.words(group), colour=PALE)
    for row, group in enumerate(groups):
        y = TOP + row * ROW
        if row and group["component"] != groups[row - 1]["component"]:
            yield Shape(16, y - 1, width=LEFT + len(MEASURES) * COLUMN - 32, height=1, colour=LINE)
        label = f"{group['component']} {group['block']}" if group["block"] else group["component"]
        yield Shape(LEFT - 10, y + 3, label, end=True)


def extent(found: Mapping[str, Any]) -> tuple[int, int]:
    """Return the picture's width and height."""
    return LEFT + len(MEASURES) * COLUMN, TOP + ROW * len(found["groups"]) + 14


def svg(found: Mapping[str, Any]) -> bytes:
    """Return the picture as SVG."""
    width, height = extent(found)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(map(_element, shapes(found)))}</svg>\n'
    ).encode()


def _element(item: Shape) -> str:
    place = f'x="{item.x:.1f}" fill="{item.colour}"'
    if item.width:
        return f'<rect {place} y="{item.y:g}" width="{item.width:.1f}" height="{item.height:g}"/>'
    anchor = "end" if item.end else "start"
    base = f'y="{item.y + 0.82 * item.size:.1f}"'  # SVG counts from the foot of the letters
    return f'<text {place} {base} font-size="{item.size}" text-anchor="{anchor}">{escape(item.text)}</text>'


def png(found: Mapping[str, Any]) -> bytes:
    """Return the picture as PNG."""
    width, height = extent(found)
    image = Image.new("RGB", (SHARPNESS * width, SHARPNESS * height), "white")
    draw = ImageDraw.Draw(image)
    for item in shapes(found):
        x, y = SHARPNESS * item.x, SHARPNESS * item.y
        if item.width:
            draw.rectangle((x, y, x + SHARPNESS * item.width, y + SHARPNESS * item.height - 1), fill=item.colour)
        else:
            font = ImageFont.load_default(SHARPNESS * item.size)
            draw.text((x, y), item.text, fill=item.colour, font=font, anchor="ra" if item.end else "la")
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
