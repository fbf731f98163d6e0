"""How much of a difference an extraction kept, by component and block."""

import math
from dataclasses import dataclass, field

from enogu.core.networks.keys import COMPONENTS, place

ORDER = ("TIME", "LABEL", "IN", "M", "OUT", "HEAD")


@dataclass
class Kept:
    """Squared sizes: of the difference in the modules kept, of what their factors miss, of what was left out."""

    modules: int = 0
    covered: float = 0.0
    lost: float = 0.0
    left: float = 0.0

    @property
    def residual(self) -> float:
        """Return the size of what is missing over the size of the difference."""
        whole = self.covered + self.left
        return math.sqrt((self.lost + self.left) / whole) if whole else 0.0


@dataclass
class Tally:
    """What was kept of each block, and why the rest was left out."""

    groups: dict[tuple[str, str], Kept] = field(default_factory=dict)
    reasons: dict[str, float] = field(default_factory=dict)

    def keep(self, key: str, covered: float, lost: float) -> None:
        """Count a module that is kept."""
        group = self._group(key)
        group.modules += 1
        group.covered += covered
        group.lost += lost

    def leave(self, key: str, size: float, why: str) -> None:
        """Count a tensor that is left out."""
        if size:
            self._group(key).left += size
            self.reasons[why] = self.reasons.get(why, 0.0) + size

    @property
    def total(self) -> Kept:
        """Return the sums over all blocks."""
        sums = Kept()
        for group in self.groups.values():
            sums.modules += group.modules
            sums.covered += group.covered
            sums.lost += group.lost
            sums.left += group.left
        return sums

    def rows(self) -> list[dict[str, object]]:
        """Return a row per component and block, in the order of the network."""
        return [
            {"component": name, "block": block, "modules": kept.modules, "residual": kept.residual}
            for (name, block), kept in sorted(self.groups.items(), key=lambda item: _rank(item[0]))
        ]

    def shares(self) -> dict[str, float]:
        """Return what share of the squared difference was left out, by reason."""
        whole = self.total.covered + self.total.left
        return {why: size / whole for why, size in sorted(self.reasons.items(), key=lambda item: -item[1])}

    def _group(self, key: str) -> Kept:
        return self.groups.setdefault((place(key).component, place(key).block), Kept())


def _rank(group: tuple[str, str]) -> tuple[int, int, str]:
    component, block = group
    kind = next((i for i, name in enumerate(ORDER) if block.startswith(name)), len(ORDER))
    return COMPONENTS.index(component), kind, block
