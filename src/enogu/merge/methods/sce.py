"""SCE: select by variance, calculate weights, erase minorities."""

from collections.abc import Sequence

import torch
from torch import Tensor

from enogu.merge.method import Delta, Deltas, Pieces, method
from enogu.merge.statistics import cutoffs, total, weighted


def variance(deltas: Sequence[Tensor]) -> list[Tensor]:
    """Return the variance across differences per element."""
    return [torch.stack(list(deltas)).var(dim=0, unbiased=False)]


def select(pieces: Pieces, *, keep: float) -> tuple[Tensor, Tensor]:
    """Return the least variance that is selected, and a weight per difference: its mean square there."""
    cut = torch.zeros(1) if keep >= 1.0 else cutoffs(pieces, keep, of=variance)

    def energies(deltas: Sequence[Tensor]) -> list[Tensor]:
        chosen = variance(deltas)[0].ge_(float(cut))
        return [(delta * chosen).double().square_() for delta in deltas]

    squares = total(pieces, energies)
    whole = squares.sum()
    return cut, squares / whole if whole > 0.0 else torch.full_like(squares, 1.0 / len(squares))


@method(grain="element", measure=select)
def sce(deltas: Deltas, *, keep: float = 1.0, measured: tuple[Tensor, Tensor]) -> Delta:
    """Weigh differences by their energy where they vary most, erase minority signs (Wan et al., arXiv 2408.07990)."""
    cut, weights = measured
    chosen = variance(deltas)[0] >= cut
    kept = [delta * chosen for delta in deltas]
    sign = sum(kept[1:], start=kept[0]).sign()
    agrees = [(delta * sign > 0.0).to(delta.dtype) for delta in kept]
    result: Tensor = weighted([d * a for d, a in zip(kept, agrees, strict=True)], weights)
    return result / weighted(agrees, weights).clamp(min=1e-6)  # mergekit's floor
