"""A small residual network (He et al., 2016) that names what a drawn picture shows."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (24, 48, 80, 128)  # channels at 1/2, 1/4, 1/8 and 1/16 of the input
DEPTHS = (1, 1, 2, 0)  # residual blocks at each of them
HALF_RANGE = 127.5  # 0..255 becomes -1..1


class Convolution(nn.Module):
    """3 x 3 convolution, batch norm, ReLU."""

    def __init__(self, before: int, after: int, *, stride: int = 1) -> None:
        """Halve the picture with a stride of 2."""
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        """[N, before, h, w] -> [N, after, h / stride, w / stride]."""
        return F.relu(self.norm(self.conv(x)))


class Residual(nn.Module):
    """Two convolutions whose result is added to their input."""

    def __init__(self, width: int) -> None:
        """Keep the width."""
        super().__init__()
        self.first = Convolution(width, width)
        self.second = Convolution(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[N, width, h, w] -> the same shape."""
        return x + cast(Tensor, self.second(self.first(x)))


class TaggerNet(nn.Module):
    """Pictures to one logit per tag."""

    def __init__(self, tags: int, width: float = 1.0) -> None:
        """Make the layers, all of them `width` times as wide."""
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for channels, depth in zip((round(width * one) for one in WIDTHS), DEPTHS, strict=True):
            layers += [Convolution(before, channels, stride=2), *(Residual(channels) for _ in range(depth))]
            before = channels
        layers.append(Convolution(before, before))
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(2 * before, tags)

    def forward(self, pixels: Tensor) -> Tensor:
        """[N, side, side, 3] BGR, 0 to 255, float32 -> [N, tags] logits."""
        x = self.layers(pixels.permute(0, 3, 1, 2) / HALF_RANGE - 1)
        return cast(Tensor, self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)))


def folded(block: Convolution) -> tuple[Tensor, Tensor]:
    """The weight and bias of a convolution that has its trained batch norm folded in."""
    norm = block.norm
    assert norm.running_var is not None
    assert norm.running_mean is not None
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return block.conv.weight * gain[:, None, None, None], norm.bias - norm.running_mean * gain
