"""A training step against a plain diffusers + accelerate loop: the same loss, images per second, memory.

Theirs follows diffusers' examples/text_to_image and examples/dreambooth (UNet and text encoder trained): the
order of calls, AdamW, clipping at 1.0. Both start from the same weights and see the same batches; in the race
each draws its own noise, as it does in earnest.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers import DDPMScheduler
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.optimization import get_scheduler
from torch import Tensor

from benchmarks.peers import peers, random_start
from benchmarks.side_by_side import Pair, alternate, peak_bytes
from enogu.core.networks.checkpoint import Checkpoint
from enogu.train.config import Phase, Rates, TrainConfig
from enogu.train.data import encode
from enogu.train.objective import Draws, draw
from enogu.train.tuner import Tuner

BATCH = 32
RATE = 1e-4
CLOSE = 1e-4  # of the losses
SEED = 0
PHASE = Phase(lr=Rates(unet=RATE, te=RATE), images=1_000_000)
MIB = 1 << 20


@dataclass(frozen=True)
class Data:
    """One batch: moments (B, 8, h, w) and tokens (B, 1, 77)."""

    moments: Tensor
    tokens: Tensor

    @property
    def latent(self) -> tuple[int, int, int]:
        """Return the shape of one latent."""
        return 4, self.moments.shape[2], self.moments.shape[3]


def data(side: int) -> Data:
    """Return a batch of latents with a side of so many cells."""
    generator = torch.Generator().manual_seed(side)
    mean = torch.randn(BATCH, 4, side, side, generator=generator) / 0.18215
    captions = [f"1girl, {word} hair, solo, smile, straw hat, simple background" for word in ("blue", "red")]
    return Data(torch.cat([mean, torch.full_like(mean, -6.0)], dim=1), encode(captions * (BATCH // 2), 1))


class Ours:
    """The train room's update, as its loop makes it."""

    def __init__(self, start: Checkpoint, precision: str) -> None:
        """Build the networks and the optimizer."""
        config = TrainConfig(
            start="", latents=("",), captions="", phases=(PHASE,), precision="bf16" if precision == "bf16" else "fp32"
        )
        self.tuner = Tuner(config, start, "cpu")
        self.tuner.begin(PHASE, reset=False)
        self.images = 0

    def draws(self, latent: tuple[int, int, int]) -> Draws:
        """Return the noise of the next batch."""
        return draw(SEED, range(self.images, self.images + BATCH), latent, timesteps=1000)

    def step(self, batch: Data, draws: Draws | None = None) -> float:
        """Train on a batch and return its loss."""
        given = draws or self.draws(batch.latent)
        loss = self.tuner.objective.loss(batch.moments, batch.tokens, given, train_text=True)
        self.tuner.step(loss, PHASE, done=self.images, total=PHASE.images)
        self.images += BATCH
        return float(loss.detach())


class Theirs:
    """The loop of diffusers' examples."""

    def __init__(self, start: Checkpoint, precision: str) -> None:
        """Build the networks and the optimizer, and have accelerate wrap them."""
        AcceleratorState._reset_state(reset_partial_state=True)  # one precision per process otherwise
        built = peers(start)
        self.accelerator = Accelerator(mixed_precision="bf16" if precision == "bf16" else "no", cpu=True)
        parameters = [*built.unet.parameters(), *built.text.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=RATE, betas=(0.9, 0.999), weight_decay=0.01, eps=1e-8)
        schedule = get_scheduler("constant", optimizer=optimizer)
        self.unet, self.text, self.optimizer, self.schedule = self.accelerator.prepare(
            built.unet.train(), built.text.train(), optimizer, schedule
        )
        self.scale = start.family.latent_scale
        self.noise = DDPMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000
        )

    def step(self, batch: Data, draws: Draws | None = None) -> float:
        """Train on a batch and return its loss."""
        with self.accelerator.accumulate(self.unet):
            posterior = DiagonalGaussianDistribution(batch.moments)
            latents = posterior.mean + posterior.std * draws.posterior if draws else posterior.sample()
            latents = latents * self.scale
            noise = draws.noise if draws else torch.randn_like(latents)
            timesteps = draws.t if draws else torch.randint(0, 1000, (len(latents),)).long()
            noisy = self.noise.add_noise(latents, noise, timesteps)
            context = self.text(batch.tokens[:, 0], return_dict=False)[0]
            said = self.unet(noisy, timesteps, context, return_dict=False)[0]
            loss = F.mse_loss(said.float(), noise.float(), reduction="mean")
            self.accelerator.backward(loss)
            self.accelerator.clip_grad_norm_([*self.unet.parameters(), *self.text.parameters()], 1.0)
            self.optimizer.step()
            self.schedule.step()
            self.optimizer.zero_grad()
        return float(loss.detach())


def loss_gap(side: int, precision: str, *, steps: int = 20) -> tuple[float, float]:
    """Return the largest difference of the losses over some steps with the same noise, and the last loss."""
    start, batch = random_start(), data(side)
    ours, theirs = Ours(start, precision), Theirs(start, precision)
    gaps = [(0.0, 0.0)]
    for _ in range(steps):
        draws = ours.draws(batch.latent)
        mine, other = ours.step(batch, draws), theirs.step(batch, draws)
        gaps.append((abs(mine - other), mine))
    return max(gap for gap, _ in gaps), gaps[-1][1]


def race(side: int, precision: str, *, rounds: int, steps: int) -> Pair:
    """Return the seconds of one image in either loop."""
    start, batch = random_start(), data(side)
    ours, theirs = Ours(start, precision), Theirs(start, precision)
    pair = alternate(partial(_train, ours, batch, steps), partial(_train, theirs, batch, steps), rounds=rounds)
    images = steps * BATCH
    return Pair(pair.ours / images, pair.theirs / images, pair.ratio, pair.lowest, pair.highest)


def memory(side: int, precision: str) -> dict[str, tuple[float, float]]:
    """Return, in MiB, the peak of a process that trains either way, and how much of it came after the imports."""
    found = {}
    for way in ("ours", "theirs"):
        command = [sys.executable, "-m", "benchmarks.training", way, str(side), precision]
        peak, grown = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        found[way] = peak / MIB, grown / MIB
    return found


def _train(way: Ours | Theirs, batch: Data, steps: int) -> None:
    for _ in range(steps):
        way.step(batch)


def _main(way: str, side: str, precision: str) -> None:
    """Train one way for a few steps and print the bytes held."""
    start, batch = random_start(), data(int(side))
    imported = peak_bytes()
    _train({"ours": Ours, "theirs": Theirs}[way](start, precision), batch, 8)
    print(json.dumps([peak_bytes(), peak_bytes() - imported]))


if __name__ == "__main__":
    _main(*sys.argv[1:])
