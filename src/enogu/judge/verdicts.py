"""Verdicts in words, drawn from intervals and from nothing else."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from enogu.judge.intervals import Cells, Interval, interval


@dataclass(frozen=True)
class Difference:
    """How much more `model` scores on a measure than `against`, picture by picture."""

    name: str
    model: str
    against: str
    by: Interval

    def plain(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {"name": self.name, "model": self.model, "against": self.against, **asdict(self.by)}


def differences(name: str, tables: Mapping[str, Cells], rng: np.random.Generator) -> list[Difference]:
    """Return every later model's paired difference against every earlier one."""
    return [Difference(name, b, a, interval(tables[b] - tables[a], rng)) for a, b in combinations(tables, 2)]


def concepts(name: str) -> str:
    """Return the words for what a recall measure covers: "new concepts" for recall.new."""
    return f"{name.partition('.')[2]} concepts" if "." in name else "what it is asked for"


def recall_verdict(difference: Difference) -> str:
    """Say whether one model draws a group of concepts better than another."""
    what, by = concepts(difference.name), difference.by
    pair = f"{difference.model} draws {what} {{}} {difference.against}: {_signed(by)}"
    if by.low > 0:
        return pair.format("better than")
    if by.high < 0:
        return pair.format("worse than")
    return pair.format("no differently, as far as these pictures tell, from")


def loss_verdict(difference: Difference) -> str:
    """Say whether one model has a lower loss than another on held-out latents."""
    by = difference.by
    word = "lower" if by.high < 0 else "higher" if by.low > 0 else "no different"
    joint = "from" if word == "no different" else "than"
    return f"{difference.model} has a held-out loss {word} {joint} {difference.against}: {_signed(by, places=4)}"


def ranking(name: str, means: Mapping[str, float], pairs: list[Difference]) -> list[str]:
    """Line three models or more up; `<` where the paired interval excludes 0, `≈` where it does not."""
    if len(means) < 3:
        return []
    order = sorted(means, key=lambda model: means[model])
    apart = {frozenset((d.model, d.against)): d.by.low > 0 or d.by.high < 0 for d in pairs}
    line = f"{order[0]} {means[order[0]]:.2f}"
    for lower, upper in pairwise(order):
        line += f" {'<' if apart[frozenset((lower, upper))] else '≈'} {upper} {means[upper]:.2f}"
    return [f"{concepts(name)}, from least to most drawn: {line}"]


def _signed(by: Interval, places: int = 2) -> str:
    return "{:+.{p}f} [{:+.{p}f}, {:+.{p}f}]".format(by.mean, by.low, by.high, p=places).replace("-", "−")
