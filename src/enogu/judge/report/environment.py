"""What the page was made on: versions and machine."""

import importlib.metadata
import os
import platform

from enogu import __version__

SHOWN = ("torch", "numpy", "polars", "onnxruntime")


def environment() -> dict[str, str]:
    """Return names and values, as they are shown."""
    known = {found.metadata["Name"]: found.version for found in importlib.metadata.distributions()}
    return {
        "enogu": __version__,
        "system": platform.platform(terse=True),
        "processor": platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        **{name: known[name] for name in SHOWN if name in known},
    }
