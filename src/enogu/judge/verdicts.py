"""Verdicts in words, drawn from intervals and from nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from enogu.judge.intervals import Cells, Interval, interval

MARGIN = 0.1  # of recall: what a maker would not notice in a handful of pictures


@dataclass(frozen=True)
class Difference:
    """How much more `model` scores on a measure than `against`, at the same prompts and seeds."""

    name: str
    model: str
    against: str
    by: Interval

    @property
    def certain(self) -> bool:
        """Tell whether the interval excludes 0."""
        return self.by.low > 0 or self.by.high < 0

    def plain(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {"name": self.name, "model": self.model, "against": self.against, **asdict(self.by)}


def differences(name: str, tables: Mapping[str, Cells], rng: np.random.Generator) -> list[Difference]:
    """Return every later model's paired difference against every earlier one."""
    return [Difference(name, b, a, interval(tables[b] - tables[a], rng)) for a, b in combinations(tables, 2)]


def concepts(name: str) -> str:
    """Return the words for what a recall measure covers: "new concepts" for recall.new."""
    return f"{name.partition('.')[2]} concepts" if "." in name else "all concepts"


def recall_verdict(difference: Difference) -> str:
    """Say whether one model draws a group of concepts better than another."""
    by, pair = difference.by, (difference.model, difference.against)
    if difference.certain:
        words = "{} draws {} better than {}" if by.low > 0 else "{} draws {} worse than {}"
    elif by.low > -MARGIN and by.high < MARGIN:
        words = f"{{}} draws {{}} as well as {{}}, to within {MARGIN}"
    else:
        words = "whether {} draws {} better or worse than {} stays open"
    return f"{words.format(pair[0], concepts(difference.name), pair[1])}: {_signed(by, places=2)}"


def loss_verdict(difference: Difference) -> str:
    """Say whether one model has a lower loss than another on held-out latents."""
    by, model, against = difference.by, difference.model, difference.against
    if difference.certain:
        words = f"{model} has a {'lower' if by.high < 0 else 'higher'} held-out loss than {against}"
    else:
        words = f"whether {model} has a lower or higher held-out loss than {against} stays open"
    return f"{words}: {_signed(by, places=4)}"


def ranking(name: str, means: Mapping[str, float], pairs: Sequence[Difference]) -> list[str]:
    """Line three models or more up; `<` where the paired interval excludes 0, `≈` where it does not."""
    if len(means) < 3:
        return []
    order = sorted(means, key=lambda model: means[model])
    certain = {frozenset((pair.model, pair.against)): pair.certain for pair in pairs}
    line = f"{order[0]} {means[order[0]]:.2f}"
    for lower, upper in pairwise(order):
        line += f" {'<' if certain[frozenset((lower, upper))] else '≈'} {upper} {means[upper]:.2f}"
    return [f"recall of {concepts(name)}, from least to most: {line}"]


def _signed(by: Interval, *, places: int) -> str:
    return "{:+.{p}f} [{:+.{p}f}, {:+.{p}f}]".format(by.mean, by.low, by.high, p=places).replace("-", "−")
