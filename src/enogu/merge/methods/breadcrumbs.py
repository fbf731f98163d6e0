"""Model breadcrumbs: neither the outliers nor the dust."""

from torch import Tensor

from enogu.core.records.errors import Refused
from enogu.merge.method import Delta, Deltas, Pieces, method
from enogu.merge.methods.ties import reaching
from enogu.merge.statistics import cutoffs, weighted


def band(pieces: Pieces, *, keep: float, outliers: float) -> tuple[Tensor, Tensor | None]:
    """Return the least size that is kept, and the least that is an outlier."""
    if not 0.0 <= outliers < 1.0 or keep <= 0.0 or keep + outliers > 1.0 + 1e-9:
        raise Refused(f"breadcrumbs(): keep {keep:g} and outliers {outliers:g} are shares whose sum is at most 1")
    upper = cutoffs(pieces, outliers) if outliers else None
    return cutoffs(pieces, keep + outliers), upper


@method(grain="element", measure=band)
def breadcrumbs(
    deltas: Deltas, *, keep: float = 0.9, outliers: float = 0.01, measured: tuple[Tensor, Tensor | None]
) -> Delta:
    """Drop the largest share `outliers` and all but `keep` below it, average (Davari 2023, arXiv 2312.06795)."""
    low, high = measured
    kept = [reaching(delta, cut) for delta, cut in zip(deltas, low, strict=True)]
    if high is not None:
        kept = [delta - reaching(delta, cut) for delta, cut in zip(kept, high, strict=True)]
    return weighted(kept, [1.0 / len(kept)] * len(kept))
