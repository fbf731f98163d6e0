"""The file that a verb is asked to write."""

import os
from pathlib import Path

from enogu.core.records.errors import Refused
from enogu.core.records.files import is_being_written

ENDING = ".safetensors"


def new_file(out: Path, what: str) -> Path:
    """Return a path that is free and called as UIs expect it, or refuse."""
    if out.suffix != ENDING:
        raise Refused(f"{out}: {what} is written as safetensors, which UIs know by the ending: -o {out}{ENDING}")
    if os.path.lexists(out):
        raise Refused(f"{out} exists; choose another name or remove it first")
    if is_being_written(out):
        raise Refused(f"{out} is being written by another program; choose another name or wait")
    return out
