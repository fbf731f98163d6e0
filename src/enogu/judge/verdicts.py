"""Verdicts in words, drawn from intervals and from nothing else."""

from collections.abc import Callable, Mapping, Sequence
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


def recall_verdicts(found: Sequence[Difference]) -> list[str]:
    """Say which models draw a group of concepts better than another one; those of which the same holds together."""
    return _told(found, _recall_words, places=2)


def loss_verdicts(found: Sequence[Difference]) -> list[str]:
    """Say which models have a lower loss than another one on held-out latents."""
    return _told(found, _loss_words, places=4)


def _recall_words(difference: Difference) -> str:
    by = difference.by
    if difference.certain:
        return f"{{who}} draw{{s}} {{what}} {'better' if by.low > 0 else 'worse'} than {{against}}"
    if by.low > -MARGIN and by.high < MARGIN:
        return f"{{who}} draw{{s}} {{what}} as well as {{against}}, to within {MARGIN}"
    return "whether {who} draw{s} {what} better or worse than {against} stays open"


def _loss_words(difference: Difference) -> str:
    if difference.certain:
        return f"{{who}} {{have}} a {'lower' if difference.by.high < 0 else 'higher'} held-out loss than {{against}}"
    return "whether {who} {have} a lower or higher held-out loss than {against} stays open"


def _told(found: Sequence[Difference], words: Callable[[Difference], str], *, places: int) -> list[str]:
    """Return a sentence for each kind of words; one model's figures have their interval, which tables have of all."""
    groups: dict[str, list[Difference]] = {}
    for difference in found:
        groups.setdefault(words(difference), []).append(difference)
    lines = []
    for said, (first, *others) in groups.items():
        names = [first.model, *(other.model for other in others)]
        who = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
        many = {"s": "", "have": "have"} if others else {"s": "s", "have": "has"}
        line = said.format(who=who, what=concepts(first.name), against=first.against, **many)
        means = ", ".join(f"{each.model} {_number(each.by.mean, places)}" for each in (first, *others))
        lines.append(f"{line}: {means if others else _signed(first.by, places=places)}")
    return lines


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
    return f"{_number(by.mean, places)} [{_number(by.low, places)}, {_number(by.high, places)}]"


def _number(value: float, places: int) -> str:
    return f"{value:+.{places}f}".replace("-", "−")
