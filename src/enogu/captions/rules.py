"""What chance may do to a caption, and in which order its groups are said."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from enogu.core.records.errors import Refused


@dataclass(frozen=True, kw_only=True)
class Level:
    """A share of the reads that keep only some words (multi-level dropout, Illustrious, arXiv 2409.19946)."""

    share: float  # of the reads
    keep: float = 0.0  # the share of the words that stay
    at_least: int = 0  # but never fewer than these

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        for name in ("share", "keep"):
            if not 0 <= getattr(self, name) <= 1:
                raise Refused(f"levels: {name} = {getattr(self, name)}: give a share from 0 to 1")
        if self.at_least < 0:
            raise Refused(f"levels: at_least = {self.at_least}: give a number of words, 0 or more")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How one caption set is read."""

    order: tuple[str, ...] = ()  # groups that are said
    fallback: tuple[str, ...] = ()  # groups that are said where those have no words
    shuffled: frozenset[str] = frozenset()  # groups whose words change places
    shuffle_every: int = 1
    separator: str = ", "
    limit: int = 0
    budget: int = 0
    text_budget: int = 0
    priority: tuple[str, ...] = ()
    drop_caption: float = 0.0
    levels: tuple[Level, ...] = ()
    drop_tags: float = 0.0
    drop_varied: bool = False
    drop_groups: Mapping[str, float] = field(default_factory=dict)
    never_drop: frozenset[str] = frozenset()
    spared: frozenset[str] = frozenset()  # words that dropping spares


def to_plain(rules: Rules) -> dict[str, Any]:
    """Return rules as JSON can hold them."""
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in asdict(rules).items()}


def from_plain(raw: Mapping[str, Any]) -> Rules:
    """Return rules from what JSON holds."""
    values = dict(raw)
    values |= {name: tuple(raw.get(name, ())) for name in ("order", "fallback", "priority")}
    values |= {name: frozenset(raw.get(name, ())) for name in ("shuffled", "never_drop", "spared")}
    values["levels"] = tuple(Level(**level) for level in raw.get("levels", ()))
    return Rules(**values)
