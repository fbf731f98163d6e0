"""Small checkpoints with true LDM keys: an SD1 UNet's blocks, text encoder, VAE, and what must never be blended."""

from pathlib import Path

import torch
from torch import Tensor

from enogu.core.networks.stream import save_tensors

IDS = "cond_stage_model.transformer.text_model.embeddings.position_ids"
TEXT = "cond_stage_model.transformer.text_model.final_layer_norm.weight"
VAE = "first_stage_model.decoder.conv_in.weight"
HEAD = "model.diffusion_model.out.2.weight"
TIME = "model.diffusion_model.time_embed.0.weight"
MIDDLE = "model.diffusion_model.middle_block.1.proj_in.weight"


def unet(block: str) -> str:
    """Return the key of a convolution in IN.. or OUT.. blocks."""
    kind = "input" if block.startswith("IN") else "output"
    return f"model.diffusion_model.{kind}_blocks.{int(block[-2:])}.0.in_layers.2.weight"


def tensors(seed: int, dtype: torch.dtype = torch.float16) -> dict[str, Tensor]:
    """Return one model's tensors; seeds share nothing but the shapes."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {unet(f"{kind}{i:02d}"): (6, 5, 3, 3) for kind in ("IN", "OUT") for i in range(12)}
    shapes |= {MIDDLE: (16, 16), TIME: (16, 4), HEAD: (4, 5, 3, 3), TEXT: (17,), VAE: (8, 4, 3, 3)}
    made = {key: torch.randn(shape, generator=generator).mul(0.1).to(dtype) for key, shape in shapes.items()}
    return {**made, IDS: torch.arange(77)[None]}


def write(folder: Path, **models: dict[str, Tensor]) -> dict[str, Path]:
    """Write models by name; return their files."""
    files = {name: folder / f"{name}.safetensors" for name in models}
    for name, path in files.items():
        save_tensors(path, models[name], {"modelspec.title": name.upper()})
    return files
