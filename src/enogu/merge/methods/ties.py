"""TIES: trim, elect signs, merge what agrees."""

from collections.abc import Sequence

import torch
from torch import Tensor

from enogu.core.records.errors import unknown
from enogu.merge.loops import Array, elect, elect_between
from enogu.merge.method import Delta, Deltas, Foresight, Pieces, method
from enogu.merge.statistics import cutoffs


def reaching(delta: Tensor, cut: Tensor) -> Tensor:
    """Return the elements whose size is at least `cut`; 0 elsewhere."""
    return torch.nn.functional.hardshrink(delta, float(_below(cut)))  # which keeps larger ones


def _below(cuts: Tensor) -> Tensor:
    return torch.nextafter(cuts, torch.zeros_like(cuts))


def agreeing_mean(deltas: Sequence[Tensor], cuts: Array, vote: str) -> Tensor:
    """Return the mean of the elements above their cut that have the elected sign.

    The sign is that of the sum ("mass"), or of the count of signs ("count"); where it is 0, so is the mean.
    """
    return torch.from_numpy(elect(tuple(delta.numpy() for delta in deltas), cuts, _is_mass(vote)))


def _is_mass(vote: str) -> bool:
    if vote not in ("mass", "count"):
        raise unknown("vote", vote, ("mass", "count"))
    return vote == "mass"


def trim(pieces: Pieces, *, keep: float, vote: str) -> Array | None:
    """Return per difference the size that its share `keep` of largest elements lies above."""
    return None if keep >= 1.0 else _below(cutoffs(pieces, keep)).numpy()


FORESIGHT = Foresight(
    lambda options: options["keep"],
    lambda options, halves, bounds, out: elect_between(halves, (*bounds, _is_mass(options["vote"])), out),
)


@method(grain="element", measure=trim, foresight=FORESIGHT)
def ties(deltas: Deltas, *, keep: float = 0.2, vote: str = "mass", measured: Array | None) -> Delta:
    """Keep the largest elements, elect a sign, average what agrees (Yadav et al. 2023, arXiv 2306.01708)."""
    cuts = no_cuts(deltas) if measured is None else measured
    return agreeing_mean(deltas, cuts, vote)


def no_cuts(deltas: Sequence[Tensor]) -> Array:
    """Return what all elements but zeros lie above."""
    return torch.zeros(len(deltas), dtype=deltas[0].dtype).numpy()
