"""What a maker sets for an extraction."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from enogu.core.records.errors import Refused, unknown
from enogu.merge.config import MergeConfig
from enogu.merge.patterns import spelt_out
from enogu.merge.syntax import parse

DTYPES = ("fp16", "bf16", "fp32")


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """A difference of models kept in a small file; the grammar of formulas is in docs/formula.md."""

    formula: str  # what to keep, as in "tuned - base"; it must be a difference
    rank: int = 32  # of attention, feed-forward and projections
    conv_rank: int = 0  # of what else the UNet has; 0 leaves that out, as kohya's LoRA does
    energy: float = 1.0  # a smaller rank where it keeps this share of the squared size
    threshold: float = 0.0  # directions weaker than this share of the strongest one are left out
    rest: bool = False  # keep norms and biases whole, which LyCORIS and ComfyUI read
    dtype: str = "fp16"  # of the factors
    seed: int = 0  # of the randomised decomposition

    def __post_init__(self) -> None:
        """Refuse what no extraction can mean."""
        parse(self.formula)
        if self.dtype not in DTYPES:
            raise unknown("dtype", self.dtype, DTYPES)
        if self.rank < 1 or self.conv_rank < 0:
            raise Refused(f"rank is {self.rank} and conv_rank {self.conv_rank}; they begin at 1 and at 0")
        if not 0.0 < self.energy <= 1.0 or not 0.0 <= self.threshold < 1.0:
            raise Refused(f"energy is {self.energy:g} and threshold {self.threshold:g}; both are shares of 1")

    def model_names(self) -> tuple[str, ...]:
        """Return the names that the formula uses, in their order."""
        return MergeConfig(formula=self.formula).model_names()

    def spelt_out(self, folder: Path, known: Mapping[str, Path | None]) -> tuple["ExtractConfig", dict[str, Path]]:
        """Return this with the models that its patterns match, and the files among them that had no name."""
        formula, files = spelt_out(self.formula, folder, known)
        return replace(self, formula=formula), files
