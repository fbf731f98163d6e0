"""Pretend rooms, so that the recipe room is tested without the real ones."""

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from enogu.core.records.errors import Refused
from enogu.core.records.files import write_bytes
from enogu.core.records.job import Job
from enogu.core.records.reference import Ref
from enogu.recipe.kinds import Kind


@dataclass(frozen=True, kw_only=True)
class DrawConfig:
    count: int = 3
    seed: int = 0
    size: tuple[int, int] = (8, 8)
    paper: Literal["white", "cream"] = "white"
    source: str = ""
    ink: float = 1.0
    trouble: str = ""  # what goes wrong, and in which file
    patience: float = 0.0  # seconds per drawing

    def __post_init__(self) -> None:
        if self.count < 1:
            raise Refused(f"count = {self.count}: draw at least one")


@dataclass(frozen=True, kw_only=True)
class ReadConfig:
    drawings: Annotated[str, Ref("draw")]
    again: Annotated[str | None, Ref("read")] = None


@dataclass(frozen=True, kw_only=True)
class Phase:
    rate: float
    drawings: Annotated[str | None, Ref("draw")] = None


@dataclass(frozen=True, kw_only=True)
class BakeConfig:
    start: Annotated[str, Ref("model")]
    phases: tuple[Phase, ...] = ()
    words: dict[str, str] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class BlendConfig:
    formula: str

    def model_names(self) -> tuple[str, ...]:
        return tuple(self.formula.split(" + "))


@dataclass(frozen=True, kw_only=True)
class LookConfig:
    models: Annotated[tuple[str, ...], Ref("model")]
    eyes: Annotated[str | None, Ref("eyes")] = None
    heldout: Annotated[str | None, Ref("draw")] = None


@dataclass(frozen=True, kw_only=True)
class PageConfig:
    title: str
    recipe_text: str = ""


def draw(config: DrawConfig, job: Job) -> dict[str, Any]:
    """Draw what is not drawn yet; `log` tells every drawing made."""
    for number in range(config.count):
        path = job.out / f"{number}.txt"
        if not path.exists():
            _meet(config.trouble, number)
            time.sleep(config.patience)
            write_bytes(path, f"{config.seed} {number}".encode())
            with (job.out.parent / "log").open("a") as log:
                log.write(f"{job.out.name} {number}\n")
        job.progress(number + 1, config.count, "drawings")
    return {"posts": config.count}


def _meet(trouble: str, number: int) -> None:
    if trouble == f"full {number}":
        with Path("/dev/full").open("w") as full:
            full.write("x" * 10_000)
    if trouble == f"memory {number}":
        np.empty(1 << 60, np.uint8)
    if trouble == f"kill {number}" and not os.environ.get("SPARED"):
        os.kill(os.getpid(), signal.SIGKILL)
    if trouble == f"stop {number}" and not os.environ.get("SPARED"):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)


def read(config: ReadConfig, job: Job) -> dict[str, Any]:
    """Count the drawings."""
    return {"read": len(list(job.one("drawings").glob("*.txt"))), "folder": str(job.one("drawings"))}


def bake(config: BakeConfig, job: Job) -> dict[str, Any]:
    """Write a checkpoint, and one on the way."""
    (job.out / "checkpoints").mkdir(exist_ok=True)
    write_bytes(job.out / "checkpoints" / "images-00000064.safetensors", b"64")
    write_bytes(job.out / "model.safetensors", job.one("start").read_bytes() + b"+")
    return {"start": str(job.one("start"))}


def blend(config: BlendConfig, job: Job, *, lent: str = "") -> dict[str, Any]:
    """Join checkpoints."""
    write_bytes(job.out / "model.safetensors", b"".join(path.read_bytes() for path in job.all("models").values()))
    return {"lent": lent, "models": list(job.all("models"))}


def look(config: LookConfig, job: Job) -> dict[str, Any]:
    """Look at models."""
    return {"models": {name: path.read_bytes().decode() for name, path in job.all("models").items()}}


def page(config: PageConfig, job: Job) -> dict[str, Any]:
    """List what is there."""
    return {
        "stages": list(job.all("stages")),
        "done": [(path / "done.json").exists() for path in job.all("stages").values()],
    }


LENT = "a thing of another room"

KINDS = {
    "draw": Kind(config="tests.pretend:DrawConfig", run="tests.pretend:draw", paths=("source",)),
    "read": Kind(config="tests.pretend:ReadConfig", run="tests.pretend:read"),
    "bake": Kind(
        config="tests.pretend:BakeConfig",
        run="tests.pretend:bake",
        model="model.safetensors",
        checkpoints="checkpoints",
    ),
    "blend": Kind(
        config="tests.pretend:BlendConfig",
        run="tests.pretend:blend",
        lends=(("lent", "tests.pretend:LENT"),),
        model="model.safetensors",
    ),
    "look": Kind(config="tests.pretend:LookConfig", run="tests.pretend:look"),
    "page": Kind(config="tests.pretend:PageConfig", run="tests.pretend:page", reads_all=True),
}
