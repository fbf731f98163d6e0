"""Layers that the UNet and the autoencoder share; module names are the LDM checkpoint's keys."""

from collections.abc import Iterable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class GroupNorm(nn.GroupNorm):
    """Group normalisation; on CPUs in planar order, where its backward is 3 times faster in bf16."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same, in the same memory order."""
        if x.device.type == "cpu" and x.dtype == torch.bfloat16:
            planar: Tensor = super().forward(x.contiguous())
            return planar.contiguous(memory_format=torch.channels_last)
        out: Tensor = super().forward(x)
        return out


def attend(q: Tensor, k: Tensor, v: Tensor, *, heads: int, causal: bool = False) -> Tensor:
    """Multi-head attention over (B, N, C) queries and (B, M, C) keys and values -> (B, N, C)."""
    q, k, v = (t.reshape(*t.shape[:2], heads, -1).transpose(1, 2) for t in (q, k, v))
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and torch.is_grad_enabled():
        # The fused kernel's backward in bf16 on CPUs is 5 times slower than plain products at these lengths.
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        if causal:
            scores = scores + torch.full_like(scores[0, 0], -torch.inf).triu(1)
        out = scores.softmax(dim=-1) @ v
    else:
        out = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    merged: Tensor = out.transpose(1, 2).flatten(2)
    return merged


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
