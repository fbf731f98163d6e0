"""Layers that the UNet and the autoencoder share; module names are the LDM checkpoint's keys."""

from collections.abc import Iterable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class GroupNorm(nn.GroupNorm):
    """Group normalisation that computes in fp32 and answers in the input's type, as LDM's GroupNorm32."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        return super().forward(x.float()).to(x.dtype)


def attend(q: Tensor, k: Tensor, v: Tensor, *, heads: int) -> Tensor:
    """Multi-head attention over (B, N, C) queries and (B, M, C) keys and values -> (B, N, C)."""
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def conv3(inputs: int, outputs: int, *, stride: int = 1) -> nn.Conv2d:
    """Return a 3 x 3 convolution that keeps the size (or halves it, rounding up)."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


def zeroed(module: ModuleT) -> ModuleT:
    """Set a module's parameters to zero, so that its branch starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def match(x: Tensor, size: Iterable[int]) -> Tensor:
    """Upsample (B, C, H, W) by nearest neighbour to a size, so that odd latents survive the way down and up."""
    return F.interpolate(x, size=torch.Size(size), mode="nearest")
