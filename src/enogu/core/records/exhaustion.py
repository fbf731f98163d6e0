"""A machine that has run out of disk or memory, as the libraries tell it."""

import errno
from typing import Literal

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FULL_SAID = ("No space left on device", "disk is full", "File too large", "requested and")  # Rust, SQLite, Rust, NumPy
MEMORY_SAID = ("can't allocate memory", "out of memory")  # PyTorch for processors, for CUDA


def exhausted(error: BaseException) -> Literal["disk", "memory", ""]:
    """Return what there was too little of; nothing where an error means something else."""
    said = str(error)
    if getattr(error, "errno", None) in FULL or any(words in said for words in FULL_SAID):
        return "disk"
    return "memory" if isinstance(error, MemoryError) or any(words in said for words in MEMORY_SAID) else ""
