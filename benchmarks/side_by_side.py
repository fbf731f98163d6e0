"""Timing two ways of doing the same, turn by turn, so that a busy machine slows both."""

import platform
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

WARM_UP_ROUNDS = 1
PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "numpy", "opencv-python-headless")


@dataclass(frozen=True)
class Pair:
    """Median seconds of either way; `ratio` is the median over rounds of theirs / ours, so above 1 ours is faster."""

    ours: float
    theirs: float
    ratio: float
    lowest: float
    highest: float


def alternate(ours: Callable[[], object], theirs: Callable[[], object], *, rounds: int) -> Pair:
    """Time both in turn, the one that goes first changing every round."""
    seconds: list[tuple[float, float]] = []
    for number in range(WARM_UP_ROUNDS + rounds):
        first, second = (ours, theirs) if number % 2 else (theirs, ours)
        one, other = _seconds(first), _seconds(second)
        seconds.append((one, other) if number % 2 else (other, one))
    kept = seconds[WARM_UP_ROUNDS:]
    ratios = sorted(b / a for a, b in kept)
    a, b = (statistics.median(column) for column in zip(*kept, strict=True))
    return Pair(a, b, statistics.median(ratios), ratios[0], ratios[-1])


def peak_bytes() -> int:
    """Return the most memory that this process has held; on Linux not counting what its parent held."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def machine() -> str:
    """Return the processor and how many of its threads torch uses."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    flags = ""
    if cpuinfo.exists():
        facts = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        found = {key.strip(): value.strip() for key, value in facts.items()}
        name = found.get("model name", name)
        flags = ", with AMX" if "amx_bf16" in found.get("flags", "") else ""
    return f"{name}{flags}; torch threads: {torch.get_num_threads()}"


def slug(text: str) -> str:
    """Return a machine's name as a part of a file's."""
    words = re.sub(r"\((R|TM)\)", "", text).split(";")[0]
    return re.sub(r"[^a-z0-9]+", "-", words.lower().replace("processor", "")).strip("-")


def versions() -> str:
    """Return what the numbers depend on."""
    return f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in PACKAGES)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
