"""The loss of a batch: noise, timestep and posterior sample follow from the count of each image in the run."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from enogu.core.diffusion import objective as maths
from enogu.core.diffusion.noise import noise_batch
from enogu.core.diffusion.schedule import alphas_cumprod
from enogu.core.networks.model import StableDiffusion
from enogu.core.records.seed import derive

GOLDEN = 0.6180339887498949  # the additive recurrence of least discrepancy in one dimension


@dataclass(frozen=True)
class Draws:
    """What chance gives to a batch: posterior and noise normals (B, C, h, w), timesteps (B,)."""

    posterior: Tensor
    noise: Tensor
    t: Tensor


def draw(seed: int, counts: Sequence[int], shape: tuple[int, ...], *, timesteps: int) -> Draws:
    """Return the draws of the images at these counts of the run; timesteps cover the range evenly as counts go by."""
    start = derive(seed, "timestep") / 2**63
    share = torch.tensor([(start + count * GOLDEN) % 1.0 for count in counts], dtype=torch.float64)
    return Draws(
        posterior=noise_batch([derive(seed, "posterior", count) for count in counts], shape),
        noise=noise_batch([derive(seed, "noise", count) for count in counts], shape),
        t=(share * timesteps).long(),
    )


class Objective:
    """Weighted mean squared error in the family's own prediction."""

    def __init__(
        self, model: StableDiffusion, *, weighting: maths.Weighting, gamma: float, clip_skip: int, autocast: bool
    ) -> None:
        """Tabulate the schedule and the weights on the model's device."""
        self.model = model
        self.clip_skip = clip_skip
        self.autocast = autocast
        self.kept: Callable[[Tensor], Tensor] | None = None  # outputs by tokens, in place of the text encoder
        family = model.family
        abar = alphas_cumprod(family.schedule)
        weights = maths.loss_weight(weighting, family.prediction, maths.snr(abar), gamma=gamma)
        self.abar = abar.float().to(model.device)
        self.weights = weights.float().to(model.device)

    def errors(self, moments: Tensor, tokens: Tensor, draws: Draws, *, train_text: bool = False) -> Tensor:
        """Return each image's unweighted squared error (B,), averaged over its latent."""
        device = self.model.device
        mean, logvar = moments.to(device).chunk(2, dim=1)
        sampled = mean + draws.posterior.to(device) * (0.5 * logvar.clamp(-30, 20)).exp()
        x0 = (sampled * self.model.family.latent_scale).contiguous(memory_format=torch.channels_last)
        noise, t = draws.noise.to(device), draws.t.to(device)
        abar = self.abar[t]
        with torch.autocast(device.type, torch.bfloat16, enabled=self.autocast):
            with torch.set_grad_enabled(train_text and torch.is_grad_enabled()):
                context = self.kept(tokens).to(device) if self.kept else self.text(tokens)
            output = self.model.unet(maths.noised(x0, noise, abar), t, context)
        target = maths.target(self.model.family.prediction, x0, noise, abar=abar)
        errors: Tensor = (output.float() - target).square().flatten(1).mean(dim=1)
        return errors

    def text(self, tokens: Tensor) -> Tensor:
        """Return what the text encoder makes of tokens (B, n, 77): (B, n * 77, C)."""
        return self.model.encode_text(tokens.to(self.model.device), self.clip_skip)

    def precise(self) -> "Objective":
        """Return the same objective in fp32."""
        other = copy(self)
        other.autocast = False
        return other

    def loss(self, moments: Tensor, tokens: Tensor, draws: Draws, *, train_text: bool) -> Tensor:
        """Return the weighted mean over the batch."""
        errors = self.errors(moments, tokens, draws, train_text=train_text)
        return (errors * self.weights[draws.t.to(errors.device)]).mean()
