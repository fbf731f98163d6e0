"""Training of the mini autoencoder: L1 at four scales and on edges, a light Gaussian prior, colours on purpose."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from enogu.core.networks.vae import VAE
from enogu.core.records.seed import generator
from enogu.mini.drawing import draw
from enogu.mini.population import sample_traits
from enogu.mini.sketches import sketch

Pictures = NDArray[np.uint8]
CROP = 64
SOURCE = 160


@dataclass(frozen=True, kw_only=True)
class Losses:
    """One step's losses."""

    total: Tensor
    rebuilt: float
    prior: float
    spread: float


def pool(seed: int, count: int) -> Iterator[Pictures]:
    """Yield square sources: four drawings (novel concepts kept out), then one sketch."""
    for index in range(count):
        if index % 5 == 4:
            yield sketch(generator(seed, "sketch", index), SOURCE)
        else:
            yield draw(sample_traits(seed, index), SOURCE, SOURCE, seed=index)


def crops(pictures: Pictures, rng: Generator, count: int) -> Tensor:
    """Return (count, 3, 64, 64) in [-1, 1]: whole pictures mostly, else parts; flipped, with turned hues."""
    batch = np.empty((count, CROP, CROP, 3), dtype=np.uint8)
    for row in range(count):
        picture = pictures[int(rng.integers(len(pictures)))]
        side = SOURCE if rng.random() < 0.5 else int(rng.integers(72, SOURCE + 1))
        left, top = (int(value) for value in rng.integers(0, SOURCE - side + 1, 2))
        part = picture[top : top + side, left : left + side]
        small = cv2.resize(part, (CROP, CROP), interpolation=cv2.INTER_AREA)
        if rng.random() < 0.3:
            small = _turn_hue(small, int(rng.integers(180)))
        batch[row] = small[:, ::-1] if rng.random() < 0.5 else small
    rgb = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 127.5 - 1
    return rgb.contiguous(memory_format=torch.channels_last)


def losses(vae: VAE, rgb: Tensor, noise: Tensor, *, prior: float, latent_noise: float = 0.0) -> Losses:
    """Return the losses of a batch; `noise` (B, latent, h, w) samples the posterior, widened by `latent_noise`."""
    with torch.autocast(rgb.device.type, torch.bfloat16):
        moments = vae.moments(rgb).float()
        mean, logvar = moments.chunk(2, dim=1)
        logvar = logvar.clamp(-30, 20)
        spread = (0.5 * logvar).exp() + latent_noise * mean.detach().std()
        rebuilt = vae.decode(mean + noise * spread).float()
    wrong = rebuilt - rgb
    apart = wrong.abs().mean() + sum(wrong.diff(dim=axis).abs().mean() for axis in (2, 3))
    for scale in (2, 4, 8):
        coarse = F.avg_pool2d(wrong, scale)
        chroma = coarse - coarse.mean(dim=1, keepdim=True)
        apart = apart + coarse.abs().mean() + 4 * coarse.square().mean() + 8 * chroma.square().mean()
    divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    return Losses(
        total=apart + prior * divergence,
        rebuilt=wrong.abs().mean().item(),
        prior=divergence.item(),
        spread=((0.5 * logvar).exp().mean() / mean.std()).item(),
    )


@torch.no_grad()
def whiten(vae: VAE, rgb: Tensor, scale: float) -> None:
    """Fold a shift and a size per channel into the 1 x 1 convolutions, so that mean * scale has mean 0 and std 1."""
    mean = vae.moments(rgb).chunk(2, dim=1)[0]
    centre, size = mean.mean(dim=(0, 2, 3)), mean.std(dim=(0, 2, 3)) * scale
    latent = len(size)
    quant, post = vae.quant_conv, vae.post_quant_conv
    assert quant.bias is not None
    assert post.bias is not None
    post.bias += post.weight[:, :, 0, 0] @ centre
    post.weight *= size[None, :, None, None]
    quant.bias[:latent] = (quant.bias[:latent] - centre) / size
    quant.weight[:latent] /= size[:, None, None, None]
    quant.bias[latent:] -= 2 * size.log()


def _turn_hue(picture: Pictures, by: int) -> Pictures:
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(np.int32) + by) % 180
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), dtype=np.uint8)
