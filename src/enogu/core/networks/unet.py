"""The denoising UNet of Stable Diffusion 1 (Rombach et al. 2022), keyed as CompVis' openaimodel.py is."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from enogu.core.networks.family import UNetWidths
from enogu.core.networks.layers import GroupNorm, attend, conv3, match, zeroed


def timestep_features(t: Tensor, width: int) -> Tensor:
    """(B,) timesteps -> (B, width) cosines then sines, periods 2 pi to 20,000 pi (DDPM, as LDM orders them)."""
    half = width // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=t.device, dtype=torch.float32) / half)
    angles = t.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class ResBlock(nn.Module):
    """Two convolutions with the time embedding added between."""

    def __init__(self, inputs: int, outputs: int, *, embedding: int, groups: int) -> None:
        """Map `inputs` to `outputs` channels."""
        super().__init__()
        self.in_layers = nn.Sequential(GroupNorm(groups, inputs), nn.SiLU(), conv3(inputs, outputs))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, outputs))
        self.out_layers = nn.Sequential(
            GroupNorm(groups, outputs), nn.SiLU(), nn.Dropout(0), zeroed(conv3(outputs, outputs))
        )
        self.skip_connection = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(B, C, H, W), (B, E) -> (B, C', H, W)."""
        h = self.in_layers(x) + self.emb_layers(embedding)[:, :, None, None]
        result: Tensor = self.skip_connection(x) + self.out_layers(h)
        return result


class CrossAttention(nn.Module):
    """Attention of the picture to itself or to the text."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        """Query `width` channels against `context` channels."""
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width), nn.Dropout(0))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, N, C), (B, M, D) -> (B, N, C)."""
        out: Tensor = self.to_out(attend(self.to_q(x), self.to_k(context), self.to_v(context), heads=self.heads))
        return out


class GEGLU(nn.Module):
    """Gated linear unit (Shazeer 2020)."""

    def __init__(self, width: int, inner: int) -> None:
        """Map `width` to `inner` channels."""
        super().__init__()
        self.proj = nn.Linear(width, inner * 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, inner)."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        return torch.mul(value, F.gelu(gate))


class FeedForward(nn.Module):
    """GEGLU and a way back."""

    def __init__(self, width: int) -> None:
        """Widen by four in between."""
        super().__init__()
        self.net = nn.Sequential(GEGLU(width, width * 4), nn.Dropout(0), nn.Linear(width * 4, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> same."""
        out: Tensor = self.net(x)
        return out


class TransformerBlock(nn.Module):
    """Self-attention, attention to the text, feed-forward."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        """Build for `width` channels and a text of `context` channels."""
        super().__init__()
        self.attn1 = CrossAttention(width, width, heads)
        self.ff = FeedForward(width)
        self.attn2 = CrossAttention(width, context, heads)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, N, C), (B, M, D) -> (B, N, C)."""
        y = self.norm1(x)
        x = self.attn1(y, y) + x
        x = self.attn2(self.norm2(x), context) + x
        out: Tensor = self.ff(self.norm3(x)) + x
        return out


class SpatialTransformer(nn.Module):
    """A transformer block over the cells of the picture."""

    def __init__(self, width: int, *, context: int, heads: int, groups: int) -> None:
        """Build with 1 x 1 convolutions in and out, as SD1 has them."""
        super().__init__()
        self.norm = GroupNorm(groups, width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(width, context, heads)])
        self.proj_out = zeroed(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, C, H, W), (B, M, D) -> (B, C, H, W)."""
        h = self.proj_in(self.norm(x))
        cells = h.flatten(2).transpose(1, 2)
        for block in self.transformer_blocks:
            cells = block(cells, context)
        out: Tensor = self.proj_out(cells.transpose(1, 2).reshape(x.shape)) + x
        return out


class Downsample(nn.Module):
    """A strided convolution."""

    def __init__(self, channels: int) -> None:
        """Halve the sides."""
        super().__init__()
        self.op = conv3(channels, channels, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, ceil(H/2), ceil(W/2))."""
        if x.device.type == "cpu" and x.dtype == torch.bfloat16:
            # oneDNN's bf16 kernels for strided convolutions read past inputs this small: NaN now and then.
            weight, bias = self.op.weight.float(), None if self.op.bias is None else self.op.bias.float()
            with torch.autocast("cpu", enabled=False):
                return F.conv2d(x.float(), weight, bias, stride=2, padding=1).to(x.dtype)
        out: Tensor = self.op(x)
        return out


class Upsample(nn.Module):
    """Nearest neighbour to the size of the skip, then a convolution."""

    def __init__(self, channels: int) -> None:
        """Keep the channels."""
        super().__init__()
        self.conv = conv3(channels, channels)

    def forward(self, x: Tensor, size: torch.Size) -> Tensor:
        """(B, C, h, w) -> (B, C, *size)."""
        out: Tensor = self.conv(match(x, size))
        return out


class UNet(nn.Module):
    """Twelve blocks in, a middle, twelve blocks out (for four levels of two)."""

    def __init__(self, widths: UNetWidths, latent: int) -> None:
        """Build for `latent` channels in and out."""
        super().__init__()
        self.widths = widths
        base, embedding = widths.channels, widths.channels * 4
        levels = [base * m for m in widths.multipliers]

        def res(inputs: int, outputs: int) -> ResBlock:
            return ResBlock(inputs, outputs, embedding=embedding, groups=widths.groups)

        def transformer(width: int) -> SpatialTransformer:
            return SpatialTransformer(width, context=widths.context, heads=widths.heads, groups=widths.groups)

        self.time_embed = nn.Sequential(nn.Linear(base, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.input_blocks = nn.ModuleList([nn.ModuleList([conv3(latent, base)])])
        skips, width = [base], base
        for level, outputs in enumerate(levels):
            for _ in range(widths.blocks):
                block = [res(width, outputs), *([transformer(outputs)] if widths.attention[level] else [])]
                self.input_blocks.append(nn.ModuleList(block))
                width = outputs
                skips.append(width)
            if level < len(levels) - 1:
                self.input_blocks.append(nn.ModuleList([Downsample(width)]))
                skips.append(width)
        self.middle_block = nn.ModuleList([res(width, width), transformer(width), res(width, width)])
        self.output_blocks = nn.ModuleList()
        for level, outputs in reversed(list(enumerate(levels))):
            for index in range(widths.blocks + 1):
                block = [
                    res(width + skips.pop(), outputs),
                    *([transformer(outputs)] if widths.attention[level] else []),
                ]
                width = outputs
                last = index == widths.blocks and level > 0
                self.output_blocks.append(nn.ModuleList([*block, *([Upsample(width)] if last else [])]))
        self.out = nn.Sequential(GroupNorm(widths.groups, width), nn.SiLU(), zeroed(conv3(width, latent)))

    def forward(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """(B, 4, h, w) noisy latents, (B,) timesteps 0..999, (B, M, D) text -> (B, 4, h, w)."""
        embedding = self.time_embed(timestep_features(t, self.widths.channels).to(x.dtype))
        skips: list[Tensor] = []
        for block in self.input_blocks:
            x = _run(block, x, (embedding, context))
            skips.append(x)
        x = _run(self.middle_block, x, (embedding, context))
        for block in self.output_blocks:
            x = torch.cat([x, skips.pop()], dim=1)
            x = _run(block, x, (embedding, context), size=skips[-1].shape[2:] if skips else None)
        out: Tensor = self.out(x)
        return out


def _run(block: nn.Module, x: Tensor, given: tuple[Tensor, Tensor], *, size: torch.Size | None = None) -> Tensor:
    """Apply a block's layers, each with what it needs of the time embedding, the text and the size to come."""
    embedding, context = given
    for layer in block.children():
        if isinstance(layer, ResBlock):
            x = layer(x, embedding)
        elif isinstance(layer, SpatialTransformer):
            x = layer(x, context)
        elif isinstance(layer, Upsample):
            x = layer(x, size)
        else:
            x = layer(x)
    return x
