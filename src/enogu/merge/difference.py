"""How two checkpoints differ, by component and block."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from enogu.core.networks.keys import COMPONENTS, place, why_fixed
from enogu.core.networks.source import open_source
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

    def add(self, a: torch.Tensor, b: torch.Tensor) -> None:
        """Count two stretches of elements."""
        x, y = a.double(), b.double()
        self.elements += len(x)
        self.first += float(x @ x)
        self.second += float(y @ y)
        self.product += float(x @ y)
        self.apart += float((x - y).square().sum())
        self.signs += int((x.sign() == y.sign()).sum())
        self.changed += int((x != y).sum())

    def summary(self) -> dict[str, float | int]:
        """Return L2 distance, the same relative to the first, cosine, and shares of like signs and changed elements."""
        lengths = math.sqrt(self.first * self.second)
        return {
            "tensors": self.tensors,
            "elements": self.elements,
            "l2": math.sqrt(self.apart),
            "relative": math.sqrt(self.apart / self.first) if self.first else 0.0,
            "cosine": self.product / lengths if lengths else 1.0,
            "signs": self.signs / max(self.elements, 1),
            "changed": self.changed / max(self.elements, 1),
        }


def compare(first: Path, second: Path, progress: Progress = silent) -> dict[str, Any]:
    """Compare the floats that two files share; list what only one has, and what has another shape or kind."""
    groups: dict[tuple[str, str], Distance] = {}
    with open_source(first) as a, open_source(second) as b:
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
            "first": first.name,
            "second": second.name,
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


def picture(found: dict[str, Any]) -> str:
    """Return the differences as an SVG: a bar per group, as long as its relative distance."""
    groups, height = found["groups"], 18
    longest = max((group["relative"] for group in groups), default=0.0) or 1.0
    bars = []
    for row, group in enumerate(groups):
        y, width = 34 + row * height, 420 * group["relative"] / longest
        label = group["block"] or group["component"]
        bars.append(
            f'<text x="84" y="{y + 12}" text-anchor="end">{label}</text>'
            f'<rect x="92" y="{y + 2}" width="{width:.1f}" height="{height - 5}" rx="2" fill="#7aa2c8"/>'
            f'<text x="{98 + width:.1f}" y="{y + 12}" fill="#555">{group["relative"]:.2%}</text>'
        )
    title = f"{_escaped(found['second'])} against {_escaped(found['first'])}: relative L2 distance"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="620" height="{46 + height * len(groups)}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="16" y="20" font-size="13">{title}</text>{"".join(bars)}</svg>\n'
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
