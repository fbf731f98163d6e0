"""The grid: model x prompt x seed as embedded pictures, each with what the tagger saw in it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl

from enogu.core.records.picture import PictureError
from enogu.judge.adherence import canonical
from enogu.judge.report.embedding import data_uri, fitting_side
from enogu.judge.report.folders import Finished

MOST_PICTURES = 480  # of one grid in the page; the others stay in the stage's folder

EMPHASIS = re.compile(r"(?<!\\)[(\[]|(:[\d.]+)?(?<!\\)[)\]]")  # brackets and weights of the prompt grammar


@dataclass(frozen=True)
class Cell:
    """One sample: its picture and, for each tag asked for, whether the tagger saw it."""

    uri: str  # empty where the file cannot be read
    index: int  # of its prompt
    model: str
    seed: int
    prompt: str
    seen: Mapping[str, bool]

    @property
    def told(self) -> str:
        """Say what was asked for, and what of it the tagger saw and missed."""
        parts = [self.prompt]
        for word, hit in (("seen", True), ("missed", False)):
            if tags := [tag.replace("_", " ") for tag, seen in self.seen.items() if seen == hit]:
                parts.append(f"{word}: {', '.join(tags)}")
        return " — ".join(parts)

    @property
    def alt(self) -> str:
        """Describe the picture without showing it."""
        return f"{self.model}, seed {self.seed}: {self.told}"


@dataclass(frozen=True)
class Prompt:
    """One prompt: its words, which of them belong to the first group of concepts, and its cells by model."""

    words: tuple[tuple[str, bool], ...]
    cells: Mapping[str, tuple[Cell, ...]]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What a grid stage drew, or the first prompts of it."""

    stage: Finished
    models: tuple[str, ...]
    prompts: tuple[Prompt, ...]
    seeds: int
    special: str  # the name of the group of concepts that is underlined
    judged: bool
    shown: int
    total: int
    facts: tuple[tuple[str, str], ...]


def grid(stage: Finished, judged: Path | None, *, special: tuple[str, frozenset[str]], side: int) -> Grid:
    """Read a grid stage, and the scores of the judge stage that read it."""
    samples = pl.read_parquet(stage.folder / "samples.parquet")
    models = tuple(samples["model"].unique(maintain_order=True))
    indices = samples["prompt_index"].unique().sort()
    per_prompt = max(1, len(samples) // max(1, len(indices)))
    kept = indices[: max(1, MOST_PICTURES // per_prompt)]
    shown = samples.filter(pl.col("prompt_index").is_in(kept.implode())).sort("prompt_index", "seed")
    seen = _sightings(judged / "scores.parquet") if judged else {}
    side = fitting_side(len(shown), most=side)
    cells = [_cell(stage.folder, row, seen.get(row["image"], {}), side=side) for row in shown.iter_rows(named=True)]
    name, tags = special
    return Grid(
        stage=stage,
        models=models,
        prompts=tuple(_prompt(list(part), models, tags) for _, part in groupby(cells, lambda cell: cell.index)),
        seeds=samples["seed"].n_unique(),
        special=name,
        judged=bool(judged),
        shown=len(shown),
        total=len(samples),
        facts=_facts(samples),
    )


def _prompt(cells: Sequence[Cell], models: Sequence[str], special: frozenset[str]) -> Prompt:
    words = [word.strip() for word in cells[0].prompt.split(",") if word.strip()]
    marked = tuple((word, canonical(EMPHASIS.sub("", word)) in special) for word in words)
    return Prompt(marked, {model: tuple(cell for cell in cells if cell.model == model) for model in models})


def _cell(folder: Path, row: Mapping[str, Any], seen: Mapping[str, bool], *, side: int) -> Cell:
    try:
        uri = data_uri(folder / row["image"], side=side)
    except PictureError:
        uri = ""
    return Cell(uri, row["prompt_index"], row["model"], row["seed"], row["prompt"], seen)


def _sightings(scores: Path) -> dict[str, dict[str, bool]]:
    seen: dict[str, dict[str, bool]] = {}
    rows = pl.read_parquet(scores).filter(pl.col("metric").str.starts_with("tag."))
    for image, metric, value in rows.select("image", "metric", "value").iter_rows():
        seen.setdefault(image, {})[metric.removeprefix("tag.")] = value > 0
    return seen


def _facts(samples: pl.DataFrame) -> tuple[tuple[str, str], ...]:
    facts: Sequence[tuple[str, str]] = [
        (name, ", ".join(str(value) for value in samples[name].unique(maintain_order=True)))
        for name in ("sampler", "steps", "cfg", "seed", "negative")
    ]
    size = samples.select(pl.format("{} × {}", "width", "height").unique(maintain_order=True)).to_series()
    return (*((name, value) for name, value in facts if value), ("size", ", ".join(size)))
