"""The VAE as a function from pixels to the moments of its posterior, in a chosen precision."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from enogu.core.networks.checkpoint import load_model
from enogu.core.networks.vae import VAE

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def fingerprint(weights: nn.Module) -> str:
    """Return the SHA-256 of a module's tensors and their names, whatever file they came in."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy())
    return digest.hexdigest()


@dataclass(frozen=True)
class Moments:
    """uint8 (N, H, W, 3) -> float16 (N, 2C, H / 8, W / 8); what overflows is computed again in fp32."""

    model: Path  # a checkpoint, absolute
    device: str = "cpu"
    precision: str = "fp32"

    @cached_property
    def vae(self) -> VAE:
        """The VAE of the checkpoint."""
        vae = load_model(self.model, device=self.device).vae
        return vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel without the VAE."""
        return Moments, (self.model, self.device, self.precision)

    def __call__(self, pictures: np.ndarray) -> tuple[np.ndarray, int]:
        """Encode a batch, and count what needed fp32; moments that are not finite even so come back as they are."""
        dtype = DTYPES.get(self.precision)
        moments = self._compute(pictures, dtype)
        broken = ~np.isfinite(moments).all(axis=(1, 2, 3))
        if dtype is None or not broken.any():
            return moments, 0
        moments[broken] = self._compute(pictures[broken], None)
        return moments, int(broken.sum())

    def _compute(self, pictures: np.ndarray, dtype: torch.dtype | None) -> np.ndarray:
        rgb = torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2)  # in memory this is channels_last
        rgb = rgb.float() / 127.5 - 1
        kind = torch.device(self.device).type
        with torch.inference_mode(), torch.autocast(kind, dtype=dtype, enabled=dtype is not None):
            return self.vae.moments(rgb).to(torch.float16).cpu().contiguous().numpy()
