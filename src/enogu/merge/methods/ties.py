"""TIES: trim, elect signs, merge what agrees."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from enogu.core.records.errors import unknown
from enogu.merge.method import Delta, Deltas, Pieces, method
from enogu.merge.statistics import cutoffs


def magnitudes(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return absolute values, in place."""
    return [tensor.abs_() for tensor in tensors]


def trim(pieces: Pieces, *, keep: float, vote: str) -> Tensor | None:
    """Return per difference the size that its share `keep` of largest elements reaches."""
    return None if keep >= 1.0 else cutoffs(pieces, keep, of=magnitudes)


def reaching(delta: Tensor, cut: Tensor) -> Tensor:
    """Return the elements whose size is at least `cut`; 0 elsewhere."""
    return torch.nn.functional.hardshrink(delta, _below(cut))  # which keeps larger ones


def _below(cut: Tensor) -> float:
    return float(torch.nextafter(cut, torch.zeros_like(cut)))


def agreeing_mean(deltas: Sequence[Tensor], cuts: Sequence[float], vote: str) -> Tensor:
    """Return the mean of the elements above their cut that have the elected sign; the differences are used up.

    The sign is that of the sum ("mass"), or of the count of signs ("count"); where it is 0, so is the mean.
    """
    if vote not in ("mass", "count"):
        raise unknown("vote", vote, ("mass", "count"))
    total, size = torch.zeros_like(deltas[0]), torch.zeros_like(deltas[0])
    flag, (ups, downs) = np.empty(total.shape, dtype=bool), np.zeros((2, *total.shape), dtype=_counter(len(deltas)))
    for delta, cut in zip(deltas, cuts, strict=True):
        kept = torch.ops.aten.hardshrink.out(delta, cut, out=delta)
        ups += np.greater(kept.numpy(), 0.0, out=flag)  # torch is slow at making booleans
        downs += np.less(kept.numpy(), 0.0, out=flag)
        total.add_(kept)
        size.add_(kept.abs_())
    lead = total if vote == "mass" else torch.from_numpy(ups.astype(np.float32) - downs).to(total.dtype)
    sign = lead.sign()
    ups *= np.greater(sign.numpy(), 0.0, out=flag)
    downs *= np.less(sign.numpy(), 0.0, out=flag)
    twice = torch.from_numpy(ups + downs).to(total.dtype).mul_(2.0).clamp_(min=1.0)
    return size.add_(total.mul_(sign)).mul_(sign).div_(twice)  # both sides' sizes and their difference: one side, twice


def _counter(most: int) -> "type[np.unsignedinteger[Any]]":
    return np.uint8 if most < 256 else np.uint32


@method(grain="element", measure=trim)
def ties(deltas: Deltas, *, keep: float = 0.2, vote: str = "mass", measured: Tensor | None) -> Delta:
    """Keep the largest elements, elect a sign, average what agrees (Yadav et al. 2023, arXiv 2306.01708)."""
    cuts = [0.0] * len(deltas) if measured is None else [_below(cut) for cut in measured]
    return agreeing_mean(deltas, cuts, vote)
