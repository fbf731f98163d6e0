"""What one picture is asked for: everything its infotext must say so that it can be drawn again."""

import math
from dataclasses import dataclass

from enogu import __version__
from enogu.core.records.errors import Refused, unknown
from enogu.sample.encoding import Emphasis
from enogu.sample.infotext import Infotext, number
from enogu.sample.methods import AUTOMATIC, METHODS, SCHEDULES
from enogu.sample.rng import SOURCES

MOST_SEEDS = 1 << 32  # torch's Mersenne twister looks at no more bits
EMPHASES = ("Original", "No norm")
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The same for every picture of a batch."""

    sampler: str = "Euler a"
    schedule: str = AUTOMATIC
    steps: int = 20
    cfg: float = 7.0
    width: int = 512
    height: int = 512
    clip_skip: int = 1
    emphasis: Emphasis = "No norm"
    rng: str = "CPU"
    precision: str = "fp32"

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        for field, known in (
            ("sampler", METHODS),
            ("schedule", (AUTOMATIC, *SCHEDULES)),
            ("emphasis", EMPHASES),
            ("rng", SOURCES),
            ("precision", PRECISIONS),
        ):
            if getattr(self, field) not in known:
                raise unknown(field, getattr(self, field), known)
        for field in ("width", "height"):
            if getattr(self, field) < 8 or getattr(self, field) % 8:
                raise Refused(f"{field} = {getattr(self, field)}: give a positive multiple of 8 pixels")
        for field in ("steps", "clip_skip"):
            if getattr(self, field) < 1:
                raise Refused(f"{field} = {getattr(self, field)}: give at least 1")
        if not math.isfinite(self.cfg):
            raise Refused(f"cfg = {self.cfg}: give a finite number")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One picture."""

    prompt: str
    negative: str = ""
    seed: int = 0
    settings: Settings

    def __post_init__(self) -> None:
        """Refuse a seed that no generator takes."""
        if not 0 <= self.seed < MOST_SEEDS:
            raise Refused(f"seed = {self.seed}: give a number from 0 to 2^32 - 1")

    def infotext(self, model: str, sha256: str) -> Infotext:
        """Return what a picture drawn by a checkpoint says of itself, in A1111's fields and order."""
        asked = self.settings
        params = {
            "Steps": str(asked.steps),
            "Sampler": asked.sampler,
            "Schedule type": asked.schedule,
            "CFG scale": number(asked.cfg),
            "Seed": str(self.seed),
            "Size": f"{asked.width}x{asked.height}",
            "Model hash": sha256[:10],
            "Model": model,
            "Clip skip": str(asked.clip_skip) if asked.clip_skip != 1 else "",
            "RNG": asked.rng,
            "Emphasis": asked.emphasis if asked.emphasis != "Original" and self._is_weighted() else "",
            "Precision": asked.precision if asked.precision != PRECISIONS[0] else "",
            "Version": f"enogu {__version__}",
        }
        return Infotext(self.prompt, self.negative, {key: value for key, value in params.items() if value})

    def _is_weighted(self) -> bool:
        return any(bracket in self.prompt + self.negative for bracket in "([")
