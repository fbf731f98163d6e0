"""Sampling against diffusers' StableDiffusionPipeline: the same weights, noise and sigmas, hence the same pictures."""

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline
from numpy.typing import NDArray

from benchmarks.peers import peers, shipped_start
from benchmarks.side_by_side import Pair, alternate
from enogu.core.diffusion.schedule import NoiseTable, alphas_cumprod
from enogu.core.networks.checkpoint import Checkpoint, build
from enogu.core.networks.chunks import chunk_tokens
from enogu.core.networks.tokenizer import tokenize
from enogu.sample import methods
from enogu.sample.draw import draw
from enogu.sample.rng import SOURCES
from enogu.sample.settings import Request, Settings

BATCH = 16
NEGATIVE = "blurry, worst quality"
COLOURS = ("black", "blonde", "blue", "pink")


class Sides:
    """Both ways to draw one batch of pictures with 20 Euler steps under guidance."""

    def __init__(self, start: Checkpoint, side: int, precision: str) -> None:
        """Build both; they hold weights of their own."""
        self.settings = Settings(sampler="Euler", width=side, height=side, precision=precision)
        self.requests = [
            Request(
                prompt=f"1girl, {COLOURS[seed % 4]} hair, smile, simple background",
                negative=NEGATIVE,
                seed=seed,
                settings=self.settings,
            )
            for seed in range(BATCH)
        ]
        self.model = build(start, "benchmark").eval().requires_grad_(False)
        built = peers(start)
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.pipeline = StableDiffusionPipeline(
            vae=built.vae,
            text_encoder=built.text,
            tokenizer=None,  # its vocabulary is not at hand offline; theirs is given our tokens for nothing
            unet=built.unet,
            scheduler=_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).to(dtype)
        self.pipeline.set_progress_bar_config(disable=True)
        table = NoiseTable(alphas_cumprod(start.family.schedule))
        self.sigmas = methods.levels("Automatic", "Euler", table, steps=self.settings.steps)
        shape = (start.family.vae.latent, side // 8, side // 8)
        self.noise = torch.stack([SOURCES["CPU"](request.seed)(shape) for request in self.requests]).to(dtype)
        self.prompts = _tokens([request.prompt for request in self.requests])
        self.negatives = _tokens([NEGATIVE] * BATCH)

    def ours(self) -> NDArray[np.uint8]:
        """Draw in the sample room."""
        return draw(self.model, self.requests)

    @torch.inference_mode()
    def theirs(self) -> NDArray[np.uint8]:
        """Draw through the pipeline."""
        pictures = self.pipeline(
            prompt_embeds=self.pipeline.text_encoder(self.prompts)[0],
            negative_prompt_embeds=self.pipeline.text_encoder(self.negatives)[0],
            sigmas=self.sigmas.tolist(),
            latents=self.noise,
            guidance_scale=self.settings.cfg,
            width=self.settings.width,
            height=self.settings.height,
            output_type="np",
        ).images
        return (pictures * 255).astype(np.uint8)


@dataclass(frozen=True)
class Race:
    """Seconds per picture, and how far the pictures lie apart, in levels of 255."""

    pair: Pair
    mean_levels: float
    most_levels: int


def race(side: int, precision: str, *, rounds: int) -> Race:
    """Draw the same pictures both ways."""
    start, _ = shipped_start()
    sides = Sides(start, side, precision)
    apart = np.abs(sides.ours().astype(int) - sides.theirs().astype(int))
    pair = alternate(sides.ours, sides.theirs, rounds=rounds)
    each = Pair(pair.ours / BATCH, pair.theirs / BATCH, pair.ratio, pair.lowest, pair.highest)
    return Race(each, float(apart.mean()), int(apart.max()))


def _scheduler() -> EulerDiscreteScheduler:
    return EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)


def _tokens(texts: list[str]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([chunk_tokens(tokenize(text)) for text in texts]))
