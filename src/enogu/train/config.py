"""Settings of a training stage."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal

from enogu.core.records.errors import Refused
from enogu.core.records.reference import Ref

HELD_OUT = 64  # posts, where there are ten times as many or more

# the least that each number may be; none may be infinite
RATES = MappingProxyType({"unet": 0, "te": 0})
PHASE = MappingProxyType({"images": 0, "epochs": 0, "batch": 0, "final": 0, "warmup_images": 0})
TRAIN = MappingProxyType(
    {
        "batch": 1,
        "chunks": 1,
        "clip_skip": 1,
        "text_variants": 0,
        "weight_decay": 0,
        "clip_norm": 0,
        "ema_images": 0,
        "validate_images": 0,
        "checkpoint_images": 0,
        "state_images": 0,
    }
)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Peak learning rates per component; 0 freezes it."""

    unet: float = 0.0
    te: float = 0.0

    def __post_init__(self) -> None:
        """Refuse rates that are no rates, and to train nothing."""
        _expect(self, RATES)
        if not self.unet and not self.te:
            raise Refused("unet and te are 0, which freezes both; give one of them a rate above 0")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One stretch of training with its own data, rates and length."""

    lr: Rates
    name: str = ""  # shown in the curves; "phase 1", ... if empty
    latents: str = ""  # which of the stage's latents; the first if empty
    captions: str = "tags"  # which caption set
    images: int = 0  # length in images ...
    epochs: float = 0.0  # ... or in passes over the data
    batch: int = 0  # the stage's batch if 0
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    final: float = 0.0  # where cosine and linear end, as a share of the peak
    warmup_images: int = 0
    optimizer: Literal["keep", "reset"] = "keep"  # reset: new moments, as chained runs have them

    def __post_init__(self) -> None:
        """Refuse a phase without a length, or with two."""
        _expect(self, PHASE)
        if self.final > 1:
            raise Refused(f"final = {self.final}; give the share of the peak at the end, from 0 to 1")
        if (self.images > 0) == (self.epochs > 0):
            raise Refused(f"phase {self.name!r}: give either images or epochs, above 0")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A fine-tune in phases."""

    start: Annotated[str, Ref("model")]
    latents: Annotated[tuple[str, ...], Ref("latents")]
    captions: Annotated[str, Ref("captions")]
    phases: tuple[Phase, ...]
    batch: int = 16  # images per update
    chunks: int = 1  # text window in chunks of 75 tokens
    clip_skip: int = 1
    text_variants: int = 0  # captions per post and set whose text outputs are kept on disk (SD1: 118 KB each); 0: none
    weighting: Literal["none", "min_snr", "soft_min_snr", "debiased"] = "none"  # of the loss by timestep
    gamma: float = 5.0  # of min_snr
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    clip_norm: float = 1.0  # global gradient norm; 0 does not clip
    ema_images: int = 0  # half-life of the averaged weights in images; 0 keeps none
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # of the arithmetic; weights stay fp32
    dtype: Literal["fp16", "fp32", "bf16"] = "fp16"  # of saved checkpoints
    validation: int | None = None  # posts held out; by default 64, but at most a tenth of all; 0: none
    validate_images: int = 0  # every so many images; 0: ten times a run
    checkpoint_images: int = 0  # every so many images; 0: at the end of each phase
    state_images: int = 0  # how much work a kill may lose; 0: as often as validation
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot run."""
        if not self.phases:
            raise Refused("phases is empty; give at least one")
        _expect(self, TRAIN)
        if self.validation is not None and self.validation < 0:
            raise Refused(f"validation = {self.validation}; give the number of posts to hold out, or 0 for none")
        if not 0 < self.gamma < math.inf:
            raise Refused(f"gamma = {self.gamma}; give a finite number above 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise Refused(f"betas = {list(self.betas)}; give two numbers from 0 to below 1")
        if self.text_variants and (trained := [phase for phase in self.phases if phase.lr.te > 0]):
            raise Refused(
                f"text_variants = {self.text_variants}, but phase {self.phases.index(trained[0]) + 1} trains the text "
                "encoder, whose outputs then change with every update; set text_variants = 0 or lr.te = 0"
            )
        known = {"", *self.latents}
        for number, phase in enumerate(self.phases, 1):
            if phase.latents not in known:
                raise Refused(f"phase {number}: latents {phase.latents!r} is not among {', '.join(self.latents)}")

    def held_out(self, posts: int) -> int:
        """Return how many of so many posts are held out."""
        return min(HELD_OUT, posts // 10) if self.validation is None else self.validation

    def phase_name(self, number: int) -> str:
        """Return what the curves call a phase."""
        return self.phases[number].name or f"phase {number + 1}"


def _expect(settings: object, least: Mapping[str, int]) -> None:
    for name, low in least.items():
        if not low <= (value := getattr(settings, name)) < math.inf:  # NaN is not, either
            wanted = f"at least {low}" if math.isfinite(value) else "a finite number"
            raise Refused(f"{name} = {value}; give {wanted}")
