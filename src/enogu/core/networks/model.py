"""A whole Stable Diffusion model whose state dict is the LDM single-file layout, key by key."""

import torch
from torch import Tensor, nn

from enogu.core.networks.clip import TextModel
from enogu.core.networks.family import Family
from enogu.core.networks.unet import UNet
from enogu.core.networks.vae import VAE


class StableDiffusion(nn.Module):
    """UNet, text encoder and autoencoder; the nesting exists only to spell the checkpoint's keys."""

    def __init__(self, family: Family) -> None:
        """Build with random weights."""
        super().__init__()
        self.family = family
        self.model = nn.ModuleDict({"diffusion_model": UNet(family.unet, family.vae.latent)})
        self.first_stage_model = VAE(family.vae)
        self.cond_stage_model = nn.ModuleDict({"transformer": nn.ModuleDict({"text_model": TextModel(family.text)})})

    @property
    def unet(self) -> UNet:
        """Return the denoiser: (x, t, context) -> prediction."""
        unet = self.model["diffusion_model"]
        assert isinstance(unet, UNet)
        return unet

    @property
    def vae(self) -> VAE:
        """Return the autoencoder."""
        return self.first_stage_model

    @property
    def text(self) -> TextModel:
        """Return the text encoder."""
        text = self.cond_stage_model["transformer"].get_submodule("text_model")
        assert isinstance(text, TextModel)
        return text

    def encode_text(self, tokens: Tensor, clip_skip: int = 1) -> Tensor:
        """(B, n, 77) token ids -> (B, n * 77, C), each chunk encoded by itself (NovelAI, A1111)."""
        batch, chunks, length = tokens.shape
        states: Tensor = self.text(tokens.reshape(batch * chunks, length), clip_skip)
        return states.reshape(batch, chunks * length, -1)

    @property
    def device(self) -> torch.device:
        """Return the device of the UNet's weights."""
        return next(self.unet.parameters()).device
