"""Findings: verdicts, dot plots per measure, the table by tag, loss by timestep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from enogu.core.records.files import read_json
from enogu.judge.report.charts import Chart, Row, Series, dots, lines
from enogu.judge.report.folders import Finished
from enogu.judge.report.scales import counted
from enogu.judge.verdicts import concepts


@dataclass(frozen=True)
class TagRow:
    """Recall of one tag by model, beside the tagger's ceiling and false alarms."""

    tag: str
    group: str
    ceiling: float | None
    false_alarms: float | None
    models: tuple[float | None, ...]


@dataclass(frozen=True)
class Verdict:
    """A sentence, and the figures it rests on."""

    words: str
    figures: str


@dataclass(frozen=True)
class Panel:
    """A dot plot, and each model's measure with its difference from the first."""

    plot: Chart
    against: str
    rows: tuple[tuple[Mapping[str, Any], Mapping[str, Any] | None], ...]


@dataclass(frozen=True)
class Findings:
    """What one judge stage found."""

    stage: Finished
    measured: Mapping[str, Any]
    verdicts: tuple[Verdict, ...]
    panels: tuple[Panel, ...]
    losses: tuple[Chart, ...]
    tags: tuple[TagRow, ...]

    @property
    def special(self) -> tuple[str, frozenset[str]]:
        """Return the first group's name and tags: what the maker wants to see first."""
        name, tags = next(iter(self.measured["groups"].items()), ("", ()))
        return f"{name} concepts" if name else "", frozenset(tags)


def findings(stage: Finished) -> Findings:
    """Read a judge stage's measures.json."""
    measured = read_json(stage.folder / "measures.json")
    paints = {model: f"p{index}" for index, model in enumerate(measured["models"])}
    names = list(dict.fromkeys(row["name"] for row in measured["measures"]))
    shown = [name for name in names if name != "recall"] or names  # all concepts together only where nothing is grouped
    panels = tuple(_panel(measured, name, paints) for name in shown)
    verdicts = tuple(Verdict(words, figures) for words, _, figures in (v.partition(": ") for v in measured["verdicts"]))
    return Findings(stage, measured, verdicts, panels, _losses(measured.get("loss_bins"), paints), _tags(measured))


def _panel(measured: Mapping[str, Any], name: str, paints: Mapping[str, str]) -> Panel:
    mine = [row for row in measured["measures"] if row["name"] == name]
    rows = [
        Row(row["model"], paints[row["model"]], row["mean"], row["low"], row["high"], row["per_seed"]) for row in mine
    ]
    first = measured["models"][0]
    pairs = {p["model"]: p for p in measured["differences"] if p["name"] == name and p["against"] == first}
    note = f"{counted(mine[0]['prompts'], 'prompt')} × {counted(len(measured['seeds']), 'seed')} for each model."
    plot = dots(concepts(name).capitalize(), rows, ceiling=measured.get("ceiling", {}).get(name), note=note)
    return Panel(plot, first, tuple((row, pairs.get(row["model"])) for row in mine))


def _losses(bins: Mapping[str, Any] | None, paints: Mapping[str, str]) -> tuple[Chart, ...]:
    if not bins:
        return ()
    middles = [(start + end) / 2 for start, end in pairwise(bins["edges"])]
    first, *others = bins["models"]

    def chart(title: str, names: Sequence[str], base: Sequence[float], *, y_label: str, note: str) -> Chart:
        series = [
            Series(name, [(x, y - b) for x, y, b in zip(middles, bins["models"][name], base, strict=True)],
                   paints.get(name, "p7"), "dots")
            for name in names
        ]  # fmt: skip
        return lines(title, series, x_label="timestep, noisier to the right", y_label=y_label, zero=True, note=note)

    note = f"{bins['images']} held-out pictures, the same noise for every model; mean squared error in the noise."
    charts = [chart("Loss by timestep", [first, *others], [0.0] * len(middles), y_label="loss", note=note)]
    if others:
        note = f"Below zero: closer to the true noise than {first}."
        charts.append(chart(f"Against {first}", others, bins["models"][first], y_label="difference", note=note))
    return tuple(charts)


def _tags(measured: Mapping[str, Any]) -> tuple[TagRow, ...]:
    group = {tag: name for name, tags in measured["groups"].items() for tag in tags}
    order = [*measured["groups"], ""]
    best = measured.get("tag_ceilings", {})
    rows = [
        TagRow(
            tag,
            group.get(tag, ""),
            best.get(tag, {}).get("recall"),
            best.get(tag, {}).get("false_alarms"),
            tuple(recalls.get(model) for model in measured["models"]),
        )
        for tag, recalls in measured["tags"].items()
    ]
    return tuple(sorted(rows, key=lambda row: (order.index(row.group), row.tag)))
