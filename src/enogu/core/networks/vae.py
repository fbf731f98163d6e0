"""The KL autoencoder of latent diffusion (Rombach et al. 2022), keyed as CompVis' first_stage_model is."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from enogu.core.networks.family import VAEWidths
from enogu.core.networks.layers import GroupNorm, attend, conv3, zeroed


class ResnetBlock(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        """Map `inputs` to `outputs` channels."""
        super().__init__()
        self.norm1 = GroupNorm(groups, inputs, eps=1e-6)
        self.conv1 = conv3(inputs, outputs)
        self.norm2 = GroupNorm(groups, outputs, eps=1e-6)
        self.conv2 = zeroed(conv3(outputs, outputs))
        if inputs != outputs:
            self.nin_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        out: Tensor = (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + h
        return out


class AttnBlock(nn.Module):
    """Single-head attention over the cells."""

    def __init__(self, channels: int, groups: int) -> None:
        """Keep the channels."""
        super().__init__()
        self.norm = GroupNorm(groups, channels, eps=1e-6)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        y = self.norm(x)
        q, k, v = (layer(y).flatten(2).transpose(1, 2) for layer in (self.q, self.k, self.v))
        out: Tensor = self.proj_out(attend(q, k, v, heads=1).transpose(1, 2).reshape(x.shape))
        return x + out


class Middle(nn.Module):
    """Block, attention, block."""

    def __init__(self, channels: int, groups: int) -> None:
        """Keep the channels."""
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels, groups)
        self.attn_1 = AttnBlock(channels, groups)
        self.block_2 = ResnetBlock(channels, channels, groups)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        out: Tensor = self.block_2(self.attn_1(self.block_1(x)))
        return out


class Resample(nn.Module):
    """A convolution that halves (padding right and below, as LDM) or doubles the sides."""

    def __init__(self, channels: int, *, down: bool) -> None:
        """Keep the channels."""
        super().__init__()
        self.down = down
        self.conv = nn.Conv2d(channels, channels, 3, stride=2) if down else conv3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H/2, W/2) or (B, C, 2H, 2W)."""
        out: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)) if self.down else F.interpolate(x, scale_factor=2.0))
        return out


class Level(nn.Module):
    """The blocks of one resolution, and the step to the next."""

    downsample: nn.Module
    upsample: nn.Module

    def __init__(self, channels: list[int], groups: int) -> None:
        """Chain blocks through the listed channels."""
        super().__init__()
        self.block = nn.ModuleList([ResnetBlock(a, b, groups) for a, b in pairwise(channels)])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        for layer in self.children():
            for block in layer if isinstance(layer, nn.ModuleList) else (layer,):
                x = block(x)
        return x


class Encoder(nn.Module):
    """Pictures to moments."""

    def __init__(self, widths: VAEWidths) -> None:
        """Build from the table of widths."""
        super().__init__()
        channels = [widths.channels * m for m in widths.multipliers]
        self.conv_in = conv3(3, widths.channels)
        self.down = nn.ModuleList()
        inputs = widths.channels
        for level, outputs in enumerate(channels):
            stage = Level([inputs, *[outputs] * widths.blocks], widths.groups)
            if level < len(channels) - 1:
                stage.downsample = Resample(outputs, down=True)
            self.down.append(stage)
            inputs = outputs
        self.mid = Middle(inputs, widths.groups)
        self.norm_out = GroupNorm(widths.groups, inputs, eps=1e-6)
        self.conv_out = conv3(inputs, 2 * widths.latent)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 2 * latent, H/f, W/f)."""
        x = self.conv_in(x)
        for stage in self.down:
            x = stage(x)
        out: Tensor = self.conv_out(F.silu(self.norm_out(self.mid(x))))
        return out


class Decoder(nn.Module):
    """Latents to pictures."""

    def __init__(self, widths: VAEWidths) -> None:
        """Build from the table of widths."""
        super().__init__()
        channels = [widths.channels * m for m in widths.multipliers]
        inputs = channels[-1]
        self.conv_in = conv3(widths.latent, inputs)
        self.mid = Middle(inputs, widths.groups)
        stages: list[Level] = []
        for level, outputs in reversed(list(enumerate(channels))):
            stage = Level([inputs, *[outputs] * (widths.blocks + 1)], widths.groups)
            if level > 0:
                stage.upsample = Resample(outputs, down=False)
            stages.insert(0, stage)
            inputs = outputs
        self.up = nn.ModuleList(stages)
        self.norm_out = GroupNorm(widths.groups, inputs, eps=1e-6)
        self.conv_out = conv3(inputs, 3)

    def forward(self, z: Tensor) -> Tensor:
        """(B, latent, h, w) -> (B, 3, h * f, w * f)."""
        x = self.mid(self.conv_in(z))
        for stage in reversed(list(self.up)):
            x = stage(x)
        out: Tensor = self.conv_out(F.silu(self.norm_out(x)))
        return out


class VAE(nn.Module):
    """Encoder and decoder around a Gaussian posterior."""

    def __init__(self, widths: VAEWidths) -> None:
        """Build from the table of widths."""
        super().__init__()
        self.widths = widths
        self.encoder = Encoder(widths)
        self.decoder = Decoder(widths)
        self.quant_conv = nn.Conv2d(2 * widths.latent, 2 * widths.latent, 1)
        self.post_quant_conv = nn.Conv2d(widths.latent, widths.latent, 1)

    def moments(self, rgb: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, 2 * latent, H/f, W/f): mean, then log variance, unscaled."""
        out: Tensor = self.quant_conv(self.encoder(rgb))
        return out

    def decode(self, z: Tensor) -> Tensor:
        """(B, latent, h, w) unscaled -> (B, 3, h * f, w * f), about [-1, 1]."""
        out: Tensor = self.decoder(self.post_quant_conv(z))
        return out
