"""`draw(model, requests) -> pictures`: a batch of prompts to 8-bit RGB, each picture as if it were drawn alone."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from enogu.core.diffusion.denoiser import Denoiser, Network
from enogu.core.diffusion.schedule import NoiseTable, alphas_cumprod
from enogu.core.networks.model import StableDiffusion
from enogu.sample import methods, prompt
from enogu.sample.encoding import encode
from enogu.sample.guided import Conditioning, Context, Guided
from enogu.sample.rng import SOURCES
from enogu.sample.settings import Request, Settings

DECODED_PIXELS = 1 << 20  # per call of the autoencoder, which needs far more memory than the UNet


@torch.inference_mode()
def draw(model: StableDiffusion, requests: Sequence[Request]) -> NDArray[np.uint8]:
    """Return (B, H, W, 3) for requests that share their settings."""
    settings = requests[0].settings
    assert all(request.settings == settings for request in requests)
    table = NoiseTable(alphas_cumprod(model.family.schedule))
    method = methods.method(settings.sampler)
    sigmas = methods.levels(settings.schedule, settings.sampler, table, steps=settings.steps)
    denoiser = Denoiser(_network(model, settings), table, model.family.prediction)
    conditionings = _conditionings(model, requests, settings.steps * method.calls_per_step)
    streams = [SOURCES[settings.rng](request.seed) for request in requests]
    shape = _latent_shape(model, settings)

    def noise() -> Tensor:
        return torch.stack([stream(shape) for stream in streams]).to(model.device)

    latents = method.walk(Guided(denoiser, conditionings, settings.cfg), noise() * sigmas[0].item(), sigmas, noise)
    return _decoded(model, latents)


def _latent_shape(model: StableDiffusion, settings: Settings) -> tuple[int, int, int]:
    vae = model.family.vae
    return vae.latent, settings.height // vae.factor, settings.width // vae.factor


def _network(model: StableDiffusion, settings: Settings) -> Network:
    unet = model.unet
    if settings.precision == "fp32":
        return unet
    unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def network(x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            output: Tensor = unet(x.contiguous(memory_format=torch.channels_last), t, context)
        return output.float()

    return network


def _conditionings(model: StableDiffusion, requests: Sequence[Request], calls: int) -> list[Conditioning]:
    known: dict[tuple[str, str], Conditioning] = {}
    for request in requests:
        texts = (request.prompt, request.negative)
        if texts not in known:
            parts = (_context(model, part, request.settings) for part in prompt.positive(request.prompt, calls))
            negative = _context(model, prompt.negative(request.negative, calls), request.settings)
            known[texts] = Conditioning(tuple(parts), negative)
    return [known[request.prompt, request.negative] for request in requests]


def _context(model: StableDiffusion, part: prompt.Part, settings: Settings) -> Context:
    texts = [variant.text for variant in part.variants]
    states = encode(model, texts, emphasis=settings.emphasis, clip_skip=settings.clip_skip)
    return Context(part.weight, tuple(variant.until for variant in part.variants), states)


def _decoded(model: StableDiffusion, latents: Tensor) -> NDArray[np.uint8]:
    pixels = latents.shape[2] * latents.shape[3] * model.family.vae.factor**2
    pieces = torch.split(latents / model.family.latent_scale, max(1, DECODED_PIXELS // pixels))
    return np.concatenate([_to_bytes(model.vae.decode(piece)) for piece in pieces])


def _to_bytes(rgb: Tensor) -> NDArray[np.uint8]:
    """Truncate as A1111 does."""
    values = ((rgb.float() + 1) / 2).clamp(0, 1) * 255
    array: NDArray[np.uint8] = values.permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()
    return array
