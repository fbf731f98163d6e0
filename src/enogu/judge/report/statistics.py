"""The statistics of a posts stage as pictures: ratings by source, years, scores, tags, and which tags go together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from enogu.core.records.files import read_json
from enogu.core.records.posts import CATEGORIES, RATINGS
from enogu.judge.report.bars import Stack, Strip, along, columns, evenly, stacks
from enogu.judge.report.charts import NARROW, WIDE, Chart
from enogu.judge.report.folders import Finished
from enogu.judge.report.matrix import matrix
from enogu.judge.report.scales import thousands
from enogu.judge.report.svg import Axis, decades, drawing, element, frame, path

PAINTS = dict(zip(RATINGS, ("p2", "p3", "p1", "p5", "p7"), strict=True))
SCORES = {"score": "Score", "fav_count": "Favourites", "aesthetic": "Aesthetic score"}
QUANTILES = ("p5", "p25", "p50", "p75", "p95")
YEARS = 7  # written below their columns at most
TOP = 8  # tags listed of each category
FULL = 3.0  # of the lift, a base-2 logarithm: what is drawn in full colour


@dataclass(frozen=True)
class Top:
    """The commonest tags of a category: tag, posts, share of the commonest."""

    kind: str
    different: int
    tags: tuple[tuple[str, int, float], ...]


@dataclass(frozen=True)
class Statistics:
    """What the posts of a stage are: small charts, wide charts, and lists of tags."""

    small: tuple[Chart, ...]
    wide: tuple[Chart, ...]
    tops: tuple[Top, ...]


def statistics(stage: Finished) -> Statistics:
    """Read a posts stage's statistics.json."""
    told: dict[str, Any] = read_json(stage.folder / "statistics.json")
    scores = (_score(name, one) for name, one in told["scores"].items())
    tags: dict[str, Any] = told["tags"]
    wide = (*([_ranks(tags)] if tags else []), *([_company(told)] if len(told["together"]["tags"]) > 1 else []))
    tops = tuple(_top(kind, one) for kind, one in tags.items())
    return Statistics((_ratings(told), *_years(told["years"]), *scores), wide, tops)


def _ratings(told: Mapping[str, Any]) -> Chart:
    rows = []
    for source, read in told["read"].items():
        chosen = told["ratings"].get(source, {})
        bars = [(f"{source}, read", read), (f"{source}, chosen", chosen)] if chosen != read else [(source, read)]
        rows += [Stack(name, [(one, PAINTS[one], count) for one, count in bar.items() if count]) for name, bar in bars]
    return stacks("Ratings by source", rows)


def _years(counts: Mapping[str, int]) -> list[Chart]:
    known = {int(year): count for year, count in counts.items() if year != "unknown"}
    if not known:
        return []
    first, last = min(known), max(known)
    edges = range(first, last + 2)
    every = -(-len(edges) // YEARS)
    marks = tuple((year - first + 0.5, str(year)) for year in edges[:-1] if (last - year) % every == 0)
    note = f"{thousands(counts['unknown'])} without a date." if "unknown" in counts else ""
    axis, heights = Axis("year", 0, len(edges) - 1, marks), [known.get(year, 0) for year in edges[:-1]]
    return [columns("Years", edges, heights, axis=axis, note=note, width=NARROW)]


def _score(name: str, one: Mapping[str, Any]) -> Chart:
    rows = {rating: one["by_rating"][rating] for rating in RATINGS if rating in one["by_rating"]}
    strips = [Strip(name, PAINTS[name], tuple(row[q] for q in QUANTILES)) for name, row in rows.items()]
    notes = [] if evenly(one["edges"]) else ["Bars double in width."]
    notes.append("Below by rating: median, middle half, and from 5 to 95 %.")
    if one["beyond"]:
        notes.append(f"{thousands(one['beyond'])} posts lie outside.")
    axis = along(SCORES[name].lower(), one["edges"])
    return columns(
        SCORES[name], one["edges"], one["counts"], axis=axis, strips=strips, note=" ".join(notes), width=NARROW
    )


def _ranks(tags: Mapping[str, Any]) -> Chart:
    """Draw how many posts have the first, second, ... tag of each category, both axes logarithmic."""
    curves = {kind: one["ranks"] for kind, one in tags.items()}
    most = max(points[0][1] for points in curves.values())
    x_axis = decades("rank", max(2, *(points[-1][0] for points in curves.values())))
    plot = frame(x_axis, decades("posts", max(2, most)), width=WIDE)
    parts, legend = list(plot.parts), []
    for kind, points in curves.items():
        paint = f"p{CATEGORIES.index(kind)}"
        places = [(plot.x(math.log10(rank)), plot.y(math.log10(posts))) for rank, posts in points]
        parts.append(element("path", d=path(places), class_=f"line {paint}"))
        parts += [element("circle", cx=x, cy=y, r=3.2, class_=f"dot {paint}") for x, y in places if len(places) == 1]
        legend.append((kind, paint))
    told = [(kind, one["once"], one["different"]) for kind, one in tags.items() if one["once"]]
    once = [f"{thousands(once)} of {thousands(different)} {kind}" for kind, once, different in told]
    note = f"Tags that only one post has: {', '.join(once)}." if once else ""
    label = "Tags by rank"
    return Chart(label, drawing(parts, width=plot.width, height=plot.height, label=label), tuple(legend), note)


def _company(told: Mapping[str, Any]) -> Chart:
    together: Mapping[str, Any] = told["together"]
    names = [tag.replace("_", " ") for tag in together["tags"]]
    lift: Sequence[Sequence[float]] = together["lift"]

    def words(row: int, column: int) -> str:
        both = together["posts"][row][column]
        return f"{names[row]} + {names[column]}: {both:,}, {2 ** lift[row][column]:.2g} × chance"

    return matrix(
        "Tags together",
        names,
        [[value / FULL for value in row] for row in lift],
        told=words,
        legend=(("oftener than by chance", "p1"), ("rarer", "p0")),
        note=f"The {len(names)} commonest general tags, those of the same company side by side; full colour is "
        f"{2**FULL:.0f} times as often as by chance, or as rarely.",
    )


def _top(kind: str, one: Mapping[str, Any]) -> Top:
    rows = list(one["most_common"].items())[:TOP]
    return Top(kind, one["different"], tuple((tag, count, count / rows[0][1]) for tag, count in rows))
