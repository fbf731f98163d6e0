"""The smallest Stable Diffusion that still has every block, with weights under which everything shows."""

from dataclasses import replace

import pytest
import torch

from enogu.core.networks.family import family
from enogu.core.networks.model import StableDiffusion


@pytest.fixture(scope="session")
def pico() -> StableDiffusion:
    mini = family("mini-sd1")
    widths = replace(mini, unet=replace(mini.unet, channels=8, groups=4), vae=replace(mini.vae, channels=8, groups=4))
    model = StableDiffusion(widths).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5, generator=generator)
    return model
