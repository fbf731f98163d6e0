"""Spherical interpolation with the lengths interpolated on their own."""

import torch
from torch import Tensor

from enogu.core.records.errors import unknown
from enogu.merge.method import Alike, method
from enogu.merge.methods.slerp import arc


@method(grain="tensor")
def nuslerp(a: Alike, b: Alike, *, t: float = 0.5, per: str = "tensor") -> Alike:
    """Turn the direction along the arc and mix the lengths, per "tensor" or per "row" (sd-mecha, "slerp")."""
    if per not in ("tensor", "row"):
        raise unknown("per", per, ("tensor", "row"))
    rows = (a.shape[0] if per == "row" and a.ndim > 1 else 1, -1)
    x, y = a.double().reshape(rows), b.double().reshape(rows)
    lengths = torch.stack([x.norm(dim=1), y.norm(dim=1)])
    cosines = (x * y).sum(dim=1) / lengths.prod(0).clamp(min=torch.finfo(torch.float64).tiny)
    shares = torch.tensor([arc(float(cosine), t) for cosine in cosines], dtype=torch.float64)
    scale = (1.0 - t) * lengths[0] + t * lengths[1]
    unit = lengths.clamp(min=torch.finfo(torch.float64).tiny)
    turned = (shares[:, 0] * scale / unit[0])[:, None] * x + (shares[:, 1] * scale / unit[1])[:, None] * y
    straight = (1.0 - t) * x + t * y
    result: Tensor = torch.where((lengths > 0.0).all(0)[:, None], turned, straight).reshape(a.shape).to(a.dtype)
    return result
