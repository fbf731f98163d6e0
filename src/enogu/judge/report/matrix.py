"""A matrix of pairs as its lower half: the names stand on the diagonal and serve rows and columns alike."""

from collections.abc import Callable, Sequence

from enogu.judge.report.charts import WIDE, Chart
from enogu.judge.report.svg import drawing, element, text

NAMES = 132.0  # width kept for the name of the last row
LONGEST = 20  # characters of a name
WIDEST = 18.0  # of a cell
FAINTEST = 0.03  # colour that is still drawn


def matrix(
    title: str,
    names: Sequence[str],
    values: Sequence[Sequence[float]],
    *,
    told: Callable[[int, int], str],
    legend: tuple[tuple[str, str], tuple[str, str]],
    note: str = "",
) -> Chart:
    """Draw values from -1 to 1 as the colours of `legend`: what is above 0, and what is below."""
    (_, more), (_, less) = legend
    cell = min((WIDE - NAMES) / len(names), WIDEST)
    height = cell * len(names)
    steps = "".join(f"H{cell * (row + 1):g}V{cell * (row + 1):g}" for row in range(1, len(names)))
    parts = [element("path", d=f"M0,{cell:g}{steps}H0Z", class_="band")]
    for row, name in enumerate(names):
        short = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
        parts.append(text(short, cell * row + 5, cell * (row + 0.5) + 4, class_="tick"))
        for column in range(row):
            value = max(-1.0, min(1.0, values[row][column]))
            shade = {"class_": f"fill {more if value > 0 else less}", "opacity": f"{max(abs(value), FAINTEST):.2f}"}
            box = {"x": round(cell * column, 2), "y": round(cell * row, 2), "width": round(cell - 1, 2)}
            words = element("title", told(row, column))
            parts.append(element("rect", words, **box, height=round(cell - 1, 2), rx=2, **shade))
    return Chart(title, drawing(parts, width=WIDE, height=height, label=title), legend, note)
