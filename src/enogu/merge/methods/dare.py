"""DARE: drop at random and rescale."""

from enogu.core.records.errors import Refused
from enogu.merge.method import Delta, Deltas, method
from enogu.merge.statistics import weighted
from enogu.merge.stretch import Stretch


@method(grain="element")
def dare(deltas: Deltas, *, drop: float = 0.9, rescale: float = 1.0, elements: Stretch) -> Delta:
    """Drop each element with probability `drop`, divide the rest by 1 - drop, average (arXiv 2311.03099).

    `rescale=0` leaves the rest as it is (6DammK9, "DROP").
    """
    if not 0.0 <= drop < 1.0:
        raise Refused(f"dare(): drop is {drop:g}; it must be at least 0 and less than 1")
    kept = [elements.uniform(i, delta).ge_(drop).mul_(delta) for i, delta in enumerate(deltas)]
    scale = 1.0 / (1.0 - drop) if rescale else 1.0
    return weighted(kept, [scale / len(kept)] * len(kept))
