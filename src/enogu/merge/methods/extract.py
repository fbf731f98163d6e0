"""What two fine-tunes of one model share, or do not share."""

import torch
from torch import Tensor

from enogu.merge.method import Weight, method


@method(grain="row")
def extract(base: Weight, b: Weight, c: Weight, *, alpha: float = 0.5, beta: float = 0.0, gamma: float = 1.0) -> Weight:
    """Keep of the differences what has one direction (beta 0) or not (beta 1), per last axis (SuperMerger)."""
    u, v = b - base, c - base
    cosine = torch.nn.functional.cosine_similarity(u.double(), v.double(), dim=-1).clamp(-1.0, 1.0)
    shared = ((cosine + 1.0) / 2.0) ** gamma
    share = ((1.0 - beta) * shared + beta * (1.0 - shared)).unsqueeze(-1).to(base.dtype)
    result: Tensor = base + ((1.0 - alpha) * u + alpha * v) * share
    return result
