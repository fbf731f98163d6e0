"""TIES: trim, elect signs, merge what agrees."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from enogu.core.records.errors import unknown
from enogu.merge.method import Delta, Deltas, Pieces, method
from enogu.merge.statistics import cutoffs


def magnitudes(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return absolute values."""
    return [tensor.abs() for tensor in tensors]


def trim(pieces: Pieces, *, keep: float, vote: str) -> Tensor | None:
    """Return per difference the size that its share `keep` of largest elements reaches."""
    return None if keep >= 1.0 else cutoffs(pieces, keep, of=magnitudes)


def reaching(delta: Tensor, cut: Tensor) -> Tensor:
    """Return the elements whose size is at least `cut`; 0 elsewhere."""
    below = torch.nextafter(
        cut.to(delta.dtype), cut.new_tensor(-1.0, dtype=delta.dtype)
    )  # hardshrink keeps larger ones
    return torch.nn.functional.hardshrink(delta, float(below))


def elect(deltas: Sequence[Tensor], vote: str) -> Tensor:
    """Return the elected sign per element: of the sum ("mass"), or of the count of signs ("count")."""
    if vote not in ("mass", "count"):
        raise unknown("vote", vote, ("mass", "count"))
    ballots = deltas if vote == "mass" else [delta.sign() for delta in deltas]
    total = torch.zeros_like(ballots[0])
    for ballot in ballots:
        total.add_(ballot)
    return total.sign_()


def agreeing_mean(deltas: Sequence[Tensor], sign: Tensor) -> Tensor:
    """Return the mean of the elements that have the elected sign; 0 where none has it."""
    size = torch.zeros_like(sign)
    count = np.zeros(sign.shape, dtype=np.uint8 if len(deltas) < 256 else np.uint32)
    for delta in deltas:
        agreeing = (delta * sign).clamp_(min=0.0)
        size.add_(agreeing)
        count += agreeing.numpy() > 0.0  # torch is slow at making booleans
    return size.div_(torch.from_numpy(np.maximum(count, 1))).mul_(sign)


@method(grain="element", measure=trim)
def ties(deltas: Deltas, *, keep: float = 0.2, vote: str = "mass", measured: Tensor | None) -> Delta:
    """Keep the largest elements, elect a sign, average what agrees (Yadav et al. 2023, arXiv 2306.01708)."""
    if measured is not None:
        deltas = [reaching(delta, cut) for delta, cut in zip(deltas, measured, strict=True)]
    return agreeing_mean(deltas, elect(deltas, vote))
