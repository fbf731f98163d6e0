"""The measures table: means with intervals, spread over seeds, paired differences and verdicts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from enogu.core.records.seed import generator
from enogu.judge.adherence import cells
from enogu.judge.intervals import Cells, interval, spread
from enogu.judge.losses import EDGES
from enogu.judge.verdicts import differences, loss_verdicts, ranking, recall_verdicts


def recall_measures(scores: pl.DataFrame, models: Sequence[str], *, groups: Sequence[str], seed: int) -> dict[str, Any]:
    """Return measures of all concepts and of every group, paired differences, and verdicts in words.

    Verdicts compare every later model with the first, for every group (for everything where there is none).
    """
    measures, pairs, verdicts = [], [], []
    for name in [*(f"recall.{group}" for group in groups), "recall"]:
        rng = generator(seed, "judge.bootstrap", name)
        tables = cells(scores, name, models)
        measures += [_measure(name, model, table, rng=rng) for model, table in tables.items()]
        found = differences(name, tables, rng)
        pairs += [difference.plain() for difference in found]
        if name != "recall" or not groups:
            verdicts += recall_verdicts([difference for difference in found if difference.against == models[0]])
            verdicts += ranking(name, {model: float(table.mean()) for model, table in tables.items()}, found)
    return {"measures": measures, "differences": pairs, "verdicts": verdicts}


def loss_measures(tables: Mapping[str, Cells], seed: int) -> dict[str, Any]:
    """Return losses by bin of t, their means with intervals over pictures, differences and verdicts."""
    rng, first = generator(seed, "judge.bootstrap", "loss"), next(iter(tables))
    found = differences("loss", tables, rng)
    means = {name: interval(table, rng) for name, table in tables.items()}
    return {
        "loss_bins": {
            "edges": EDGES,
            "images": len(next(iter(tables.values()))),
            "models": {name: table.mean(axis=0).tolist() for name, table in tables.items()},
            "means": {name: [mean.mean, mean.low, mean.high] for name, mean in means.items()},
        },
        "differences": [difference.plain() for difference in found],
        "verdicts": loss_verdicts([difference for difference in found if difference.against == first]),
    }


def tag_table(found: pl.DataFrame, models: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return recall per tag and model."""
    means = found.group_by("tag", "model").agg(pl.col("value").mean())
    table = {(tag, model): value for tag, model, value in means.iter_rows()}
    tags = sorted({tag for tag, _ in table})
    return {tag: {model: table[tag, model] for model in models if (tag, model) in table} for tag in tags}


def _measure(name: str, model: str, table: Cells, *, rng: np.random.Generator) -> dict[str, Any]:
    by = interval(table, rng)
    return {
        "name": name,
        "model": model,
        "mean": by.mean,
        "low": by.low,
        "high": by.high,
        "spread": spread(table),
        "per_seed": table.mean(axis=0).tolist(),
        "prompts": len(table),
    }
