"""Seeds derived from (seed, purpose, index), so that order, workers and resume never change a result."""

import hashlib

import numpy as np


def derive(seed: int, purpose: str, *index: int | str) -> int:
    """Return a 63-bit seed that depends on every argument and on nothing else (BLAKE2b)."""
    text = "\x1f".join([str(seed), purpose, *(f"{type(part).__name__}:{part}" for part in index)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, purpose: str, *index: int | str) -> np.random.Generator:
    """Return a counter-based (Philox) generator for one purpose and index."""
    return np.random.Generator(np.random.Philox(key=derive(seed, purpose, *index)))
