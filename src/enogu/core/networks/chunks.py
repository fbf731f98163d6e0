"""Token ids cut into chunks of 75, each between a start and an end mark (NovelAI's n x 77 contexts)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from enogu.core.networks.tokenizer import BOS, EOS

CHUNK_TOKENS = 75


def chunk_tokens(ids: Sequence[int], *, chunks: int | None = None) -> NDArray[np.int64]:
    """Return (n, 77) ids padded with the end mark; `chunks` fixes n, and tokens past it are cut."""
    count = chunks if chunks is not None else max(1, -(-len(ids) // CHUNK_TOKENS))
    table = np.full((count, CHUNK_TOKENS + 2), EOS, dtype=np.int64)
    table[:, 0] = BOS
    for row in range(count):
        part = ids[row * CHUNK_TOKENS : (row + 1) * CHUNK_TOKENS]
        table[row, 1 : 1 + len(part)] = part
    return table
