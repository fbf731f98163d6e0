"""How two checkpoints differ, by component and block."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from enogu.core.networks.ahead import OnePass
from enogu.core.networks.keys import COMPONENTS, place, why_fixed
from enogu.core.networks.stream import Reader
from enogu.core.records.progress import Progress, silent

PIECE = 1 << 16  # elements compared at once
ORDER = ("TIME", "LABEL", "IN", "M", "OUT", "HEAD")


@dataclass
class Distance:
    """Sums over the elements of a group of tensors, first file against second."""

    tensors: int = 0
    elements: int = 0
    first: float = 0.0  # sums of squares and products
    second: float = 0.0
    product: float = 0.0
    apart: float = 0.0
    signs: int = 0
    changed: int = 0
    odd: int = 0  # NaN or infinite in either file, and in none of the sums

    def add(self, a: torch.Tensor, b: torch.Tensor) -> None:
        """Count two stretches of elements; where they are the same, one product tells everything."""
        x, y = a.double(), b.double()
        square, other = float(x @ x), float(y @ y)
        if not math.isfinite(square + other):
            finite = x.isfinite() & y.isfinite()
            self.odd += len(x) - int(finite.sum())
            return self.add(x[finite], y[finite])
        self.elements += len(x)
        self.first += square
        if a.dtype == b.dtype and torch.equal(a, b):
            self.second, self.product, self.signs = self.second + square, self.product + square, self.signs + len(x)
            return None
        apart = x - y
        self.second += other
        self.product += float(x @ y)
        self.apart += float(apart @ apart)
        self.signs += int(torch.count_nonzero(x.sign() == y.sign()))
        self.changed += int(torch.count_nonzero(apart))
        return None

    def summary(self) -> dict[str, float | int]:
        """Return L2 distance, the same relative to the first, cosine, and shares of like signs and changed elements."""
        lengths = math.sqrt(self.first) * math.sqrt(self.second)
        return {
            "tensors": self.tensors,
            "elements": self.elements,
            "l2": math.sqrt(self.apart),
            "relative": math.sqrt(self.apart / self.first) if self.first else 0.0,
            "cosine": self.product / lengths if lengths and self.apart else 1.0,
            "signs": self.signs / max(self.elements, 1),
            "changed": self.changed / max(self.elements, 1),
            "nonfinite": self.odd,
        }


def compare(first: Path, second: Path, progress: Progress = silent) -> dict[str, Any]:
    """Compare the floats that two files share; list what only one has, and what has another shape or kind."""
    groups: dict[tuple[str, str], Distance] = {}
    with OnePass(first) as a, OnePass(second) as b:
        shared = [key for key in a.header.tensors if key in b.header.tensors]
        like = [key for key in shared if a.header.tensors[key].shape == b.header.tensors[key].shape]
        floats = [key for key in like if not why_fixed(key, a.header.tensors[key])]
        for done, key in enumerate(floats):
            group = groups.setdefault((place(key).component, place(key).block), Distance())
            group.tensors += 1
            for x, y in _pieces(a, b, key):
                group.add(x, y)
            progress(done + 1, len(floats), "tensors")
        return {
            "first": first.name if first.name != second.name else f"{first.parent.name}/{first.name}",
            "second": second.name if first.name != second.name else f"{second.parent.name}/{second.name}",
            "groups": [
                {"component": component, "block": block, **groups[component, block].summary()}
                for component, block in sorted(groups, key=_rank)
            ],
            "only_first": [key for key in a.header.tensors if key not in b.header.tensors],
            "only_second": [key for key in b.header.tensors if key not in a.header.tensors],
            "misshapen": sorted(set(shared) - set(like)),
        }


def _pieces(a: Reader, b: Reader, key: str) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    count = a.header.tensors[key].numel
    for start in range(0, count, PIECE):
        stop = min(start + PIECE, count)
        yield a.stretch(key, start, stop), b.stretch(key, start, stop)


def _rank(group: tuple[str, str]) -> tuple[int, int, str]:
    component, block = group
    kind = next((i for i, name in enumerate(ORDER) if block.startswith(name)), len(ORDER))
    return COMPONENTS.index(component), kind, block
