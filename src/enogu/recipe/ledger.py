"""The ledger: one JSON line per stage run, whatever became of it."""

import importlib.metadata
import json
import os
import platform
import resource
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from enogu import __version__

PACKAGES = ("torch", "numpy", "polars", "opencv-python-headless", "pillow", "onnxruntime", "safetensors")


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Append one row; a single write, so that two runs never mix their lines."""
    line = json.dumps(row, ensure_ascii=False) + "\n"
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, line.encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def rows(path: Path) -> list[dict[str, Any]]:
    """Return every whole row."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n") and line.startswith("{")]


@cache
def machine() -> dict[str, Any]:
    """Return what this process runs on: system, cores, versions."""
    known = {found.metadata["Name"]: found.version for found in importlib.metadata.distributions()}
    versions = {name: known[name] for name in PACKAGES if name in known}
    return {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "enogu": __version__,
        "python": platform.python_version(),
        **versions,
    }


def peak_memory_bytes() -> int:
    """Return the most memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts KiB, macOS bytes
