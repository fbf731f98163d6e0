"""The recipe as a typed tree: what it is called, its foreign models, its machine, its stages."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from enogu.core.records.errors import Refused
from enogu.recipe.kinds import Kind

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # names become parts of folder names
CLUSTER = re.compile(r"auto|local|[^/\s]+:\d+")


def checked_name(name: str, where: str) -> str:
    """Return a name that can be part of a folder name, or refuse it."""
    if not NAME.fullmatch(name):
        raise Refused(f"{where}: the name {name!r} may hold only letters, digits, - and _")
    return name


@dataclass(frozen=True, kw_only=True)
class HeaderConfig:
    """The table [recipe]."""

    name: str  # names the work folder
    family: str = "mini-sd1"  # the default `family` of every stage
    seed: int = 0  # the default `seed` of every stage

    def __post_init__(self) -> None:
        """Refuse a name that cannot name a folder."""
        checked_name(self.name, "name")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """One entry of [models]: a checkpoint made elsewhere."""

    file: Path  # relative to the recipe
    sha256: str = ""  # when given, a file with another content is refused

    def __post_init__(self) -> None:
        """Refuse a hash that is not one."""
        if self.sha256 and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise Refused(f"sha256 = {self.sha256!r}: give all 64 lower-case hex digits, or leave it out")


@dataclass(frozen=True, kw_only=True)
class MachineConfig:
    """The table [machine]: where the work is done; it never changes a stage's hash."""

    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: CUDA where there is one
    threads: int = 0  # 0: one per core
    cluster: str = ""  # a Ray cluster that shares the work on pictures: "HOST:PORT", "auto", "local" (docs/cluster.md)

    def __post_init__(self) -> None:
        """Refuse a negative number of threads and what is no address."""
        if self.threads < 0:
            raise Refused(f"threads = {self.threads}: give 0 for one per core, or a positive number")
        if self.cluster and not CLUSTER.fullmatch(self.cluster):
            raise Refused(
                f'cluster = {self.cluster!r}: give the address of a Ray head as "HOST:PORT", "auto" or "local"'
            )


@dataclass(frozen=True)
class Stage:
    """One table [KIND.NAME] and its typed settings."""

    kind: str
    name: str
    config: Any
    traits: Kind

    @property
    def id(self) -> str:
        """Return KIND.NAME."""
        return f"{self.kind}.{self.name}"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole recipe, read and checked."""

    path: Path
    header: HeaderConfig
    machine: MachineConfig
    models: Mapping[str, ModelConfig]
    stages: Mapping[str, Stage]  # by id, in the order of the file
