"""One model turned into another's frame before they are mixed."""

import torch
from torch import Tensor

from enogu.merge.method import Weight, method


@method(grain="tensor")
def rotate(a: Weight, b: Weight, *, alpha: float = 0.0) -> Weight:
    """Turn the rows of a onto those of b by orthogonal Procrustes (Schoenemann 1966; sd-mecha, "rotate"), mix by alpha.

    Convolutions are read as (output * input) x kernel. What is fitted is a turn and a shift, so the mean row is b's.
    """
    if a.ndim < 2:
        return (1.0 - alpha) * a + alpha * b
    width = a.shape[1] if a.ndim == 2 else a[0, 0].numel()
    x, y = a.double().reshape(-1, width), b.double().reshape(-1, width)
    centre_y = y.mean(0)
    x, y = x - x.mean(0), y - centre_y
    u, _, v = torch.linalg.svd(x.T @ y)
    turned = x @ (u @ v)
    if alpha:
        turned = (1.0 - alpha) * turned + alpha * y
    moved: Tensor = turned + centre_y
    return moved.reshape(a.shape).to(a.dtype)
