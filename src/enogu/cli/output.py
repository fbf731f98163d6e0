"""The file that a verb is asked to write."""

from pathlib import Path

from enogu.core.records.errors import Refused

ENDING = ".safetensors"


def new_file(out: Path, what: str) -> Path:
    """Return a path that is free and called as UIs expect it, or refuse."""
    if out.suffix != ENDING:
        raise Refused(f"{out}: {what} is written as safetensors, which UIs know by the ending: -o {out}{ENDING}")
    if out.exists():
        raise Refused(f"{out} exists; choose another name or remove it first")
    return out
