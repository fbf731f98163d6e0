"""DARE: drop at random and rescale."""

import numpy as np
import torch

from enogu.core.records.errors import Refused
from enogu.merge.method import Delta, Deltas, method
from enogu.merge.statistics import weighted
from enogu.merge.stretch import STEPS, Stretch


@method(grain="element")
def dare(deltas: Deltas, *, drop: float = 0.9, rescale: float = 1.0, elements: Stretch) -> Delta:
    """Drop each element with probability `drop`, divide the rest by 1 - drop, average (arXiv 2311.03099).

    `rescale=0` leaves the rest as it is (6DammK9, "DROP").
    """
    if not 0.0 <= drop < 1.0:
        raise Refused(f"dare(): drop is {drop:g}; it must be at least 0 and less than 1")
    dropped = min(round(drop * STEPS), STEPS - 1)
    kept = []
    for i, delta in enumerate(deltas):
        mask = (elements.draws(i, delta) >= dropped).view(np.uint8)  # torch is slow at booleans
        kept.append(torch.from_numpy(mask).to(delta.dtype).mul_(delta))
    scale = STEPS / (STEPS - dropped) if rescale else 1.0  # of what is truly dropped: the mean stays
    return weighted(kept, [scale / len(kept)] * len(kept))
