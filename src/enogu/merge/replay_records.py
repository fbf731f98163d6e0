"""What a replay is made of: the recipe as a formula, and the models that it wants."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from enogu.core.networks.header import Header
from enogu.merge.config import MergeConfig

DTYPE_WORDS = {"F32": "fp32", "F16": "fp16", "BF16": "bf16"}

STEP = re.compile(r"alpha|beta|kept|vae|mixed|step\d+")  # names that replayed formulas give to their own steps


@dataclass(frozen=True)
class Wanted:
    """A model of a recipe: its SHA-256 (or the beginning of it, or nothing), and what it was called."""

    sha256: str = ""
    title: str = ""

    def __str__(self) -> str:
        """Return what is known of it."""
        known = [f"sha256 {self.sha256}"] if self.sha256 else []
        return ", ".join([*known, *([f"called {self.title!r}"] if self.title else [])])


@dataclass(frozen=True)
class Replay:
    """A recipe as a formula of ours: what to compute, from which models, and what cannot be repeated exactly."""

    origin: str
    config: MergeConfig
    models: Mapping[str, Wanted]
    notes: tuple[str, ...] = ()


@dataclass
class Names:
    """Names for the models of a recipe that can stand in a formula, made from what they were called."""

    wanted: dict[str, Wanted] = field(default_factory=dict)

    def of(self, wanted: Wanted) -> str:
        """Return the name of a model; the same model has the same name."""
        for name, known in self.wanted.items():
            if known == wanted:
                return name
        stem = wanted.title.replace("\\", "/").rpartition("/")[2].split(" [")[0].removesuffix(".safetensors")
        plain = re.sub(r"\W+", "_", stem.removesuffix(".ckpt"), flags=re.ASCII).strip("_").lower() or "model"
        plain = f"m_{plain}" if not plain[0].isalpha() or STEP.fullmatch(plain) else plain
        taken = [name for name in self.wanted if re.fullmatch(rf"{plain}(_\d+)?", name)]
        name = f"{plain}_{len(taken) + 1}" if taken else plain
        self.wanted[name] = wanted
        return name


def stored_dtype(header: Header) -> str:
    """Return the dtype that most tensors of a file have, as a merge names it."""
    codes = [info.dtype for info in header.tensors.values() if info.dtype in DTYPE_WORDS]
    return DTYPE_WORDS[max(set(codes), key=codes.count)] if codes else "same"
