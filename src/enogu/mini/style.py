"""How an artist of a year puts colour and line on a canvas."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from enogu.mini.traits import RGB, YEARS, choice

LINE = 5.0  # house line width in hundredths of a head radius


@dataclass(frozen=True, kw_only=True)
class Style:
    """Line and colour of one picture; all colours pass through `tone`."""

    line: float
    ink_rgb: RGB
    tint: float
    shading: str
    saturation: float
    lift: float
    contour: bool

    def tone(self, rgb: RGB) -> RGB:
        """The colour in this palette: saturated about its grey, then lifted towards white."""
        return _tone(rgb, self.saturation, self.lift)

    def ink(self, rgb: RGB) -> RGB:
        """The colour of a line around a fill of `rgb`."""
        return mix(self.ink_rgb, scaled(self.tone(rgb), 0.66), self.tint)

    def shadow(self, rgb: RGB) -> RGB:
        """The cool dark side of a colour."""
        return mix(scaled(rgb, 0.72), (88, 70, 150), 0.16)

    def dusk(self, rgb: RGB) -> RGB:
        """The lower end of a soft gradient."""
        return mix(scaled(rgb, 0.97), (244, 130, 150), 0.09)

    def light(self, rgb: RGB) -> RGB:
        """The warm bright side of a colour."""
        return mix(rgb, (255, 250, 240), 0.22)


def style_of(artist: str, year: int) -> Style:
    """Lines grow thinner and palettes softer from the first year to the last."""
    row = choice("artist", artist)
    age = (year - YEARS[0]) / (YEARS[1] - YEARS[0])
    return Style(
        line=LINE * row.line * (1.25 - 0.5 * age),
        ink_rgb=row.ink,
        tint=row.tint,
        shading=row.shading,
        saturation=1.14 - 0.26 * age,
        lift=row.lift,
        contour=row.contour,
    )


def mix(first: RGB, second: RGB, share: float) -> RGB:
    """`first` with a share of `second`."""
    r, g, b = (_byte(_mix(p, q, share)) for p, q in zip(first, second, strict=True))
    return r, g, b


def scaled(rgb: RGB, factor: float) -> RGB:
    """A darker or lighter colour of the same hue."""
    r, g, b = (_byte(v * factor) for v in rgb)
    return r, g, b


@lru_cache(maxsize=4096)
def _tone(rgb: RGB, saturation: float, lift: float) -> RGB:
    grey = 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2]  # Rec. 601 luma
    r, g, b = (_byte(_mix(grey + (v - grey) * saturation, 255, lift)) for v in rgb)
    return r, g, b


def _mix(first: float, second: float, share: float) -> float:
    return first + (second - first) * share


def _byte(value: float) -> int:
    return min(255, max(0, round(value)))
