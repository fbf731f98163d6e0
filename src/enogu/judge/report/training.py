"""Training as curves: loss, validation loss by phase, learning rate, over images seen."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from enogu.judge.report.charts import NARROW, Band, Chart, Point, Series, lines
from enogu.judge.report.folders import Finished

POINTS = 160  # of a raw curve in the page
NAMES = {"unet": "UNet", "te": "text encoder"}
SMOOTH = 12  # parts of a curve that one smoothed point stands for


@dataclass(frozen=True)
class Training:
    """The curves of one train stage."""

    stage: Finished
    charts: tuple[Chart, ...]


def training(stage: Finished) -> Training:
    """Read a train stage's metrics.jsonl."""
    rows = read_metrics(stage.folder / "metrics.jsonl")
    bands = phases(rows)
    charts = [_loss(rows, bands), _validation(rows, bands), _rates(rows, bands)]
    return Training(stage, tuple(chart for chart in charts if chart))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read one JSON object a line; a last line that a kill cut short is left out."""
    rows = []
    for line in path.read_text("utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def phases(rows: Iterable[Mapping[str, Any]]) -> list[Band]:
    """Return the stretch of images that each phase covers; empty where there is one phase only."""
    spans = [(name, [row["images"] for row in part]) for name, part in groupby(rows, lambda row: row.get("phase"))]
    starts = [0.0, *(float(images[-1]) for _, images in spans)]
    bands = [Band(str(name), start, float(images[-1])) for (name, images), start in zip(spans, starts, strict=False)]
    return bands if len(bands) > 1 else []


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """Return at most `most` points, each the mean of a stretch of the curve."""
    size = max(1, -(-len(points) // most))
    parts = (points[start : start + size] for start in range(0, len(points), size))
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def _points(rows: Iterable[Mapping[str, Any]], key: str) -> list[Point]:
    return [(row["images"], row[key]) for row in rows if math.isfinite(row.get(key, math.nan))]


def _loss(rows: Sequence[Mapping[str, Any]], bands: Sequence[Band]) -> Chart | None:
    if not (points := _points(rows, "loss")):
        return None
    raw, calm = thinned(points, POINTS), thinned(points, max(POINTS // SMOOTH, 8))
    series = [Series("each stretch", raw, "p1", "faint"), Series("smoothed", calm, "p1")]
    return lines("Training loss", series, x_label="images seen", y_label="loss", bands=bands, width=NARROW)


def _validation(rows: Sequence[Mapping[str, Any]], bands: Sequence[Band]) -> Chart | None:
    if not (points := _points(rows, "val_loss")):
        return None
    names = list(dict.fromkeys(row.get("phase") for row in rows if row.get("val_loss") is not None))
    series = [
        Series(str(name), _points((row for row in rows if row.get("phase") == name), "val_loss"), f"p{2 * i}", "dots")
        for i, name in enumerate(names)
    ]
    first, last = points[0][1], points[-1][1]
    note = f"Fixed pictures, noise and timesteps: from {first:.4f} to {last:.4f}."
    chart = lines(
        "Validation loss", series, x_label="images seen", y_label="loss", bands=bands, width=NARROW, note=note
    )
    return replace(chart, legend=())  # the bands name the phases


def _rates(rows: Sequence[Mapping[str, Any]], bands: Sequence[Band]) -> Chart | None:
    parts = list(dict.fromkeys(key for row in rows for key in row if key.startswith("lr_"))) or ["lr"]
    named = [(key.removeprefix("lr_"), thinned(points, POINTS)) for key in parts if (points := _points(rows, key))]
    if not named:
        return None
    series = [Series(NAMES.get(name, name), points, f"p{3 + i}") for i, (name, points) in enumerate(named)]
    return lines("Learning rate", series, x_label="images seen", y_label="rate", bands=bands, width=NARROW, zero=True)
