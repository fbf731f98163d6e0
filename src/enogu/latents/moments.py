"""The VAE as a function from pixels to the moments of its posterior, in a chosen precision."""

import hashlib
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def fingerprint(weights: nn.Module) -> str:
    """Return the SHA-256 of a module's tensors and their names, whatever file they came in."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy())
    return digest.hexdigest()


class Moments:
    """uint8 (N, H, W, 3) -> float16 (N, 2C, H / 8, W / 8); what overflows is computed again in fp32."""

    def __init__(self, encode: Callable[[Tensor], Tensor], *, device: str = "cpu", precision: str = "fp32") -> None:
        """Wrap `encode`: rgb (N, 3, H, W) in [-1, 1] -> moments."""
        self.fallbacks = 0  # pictures that needed fp32 after all
        self._encode = encode
        self._device = torch.device(device)
        self._dtype = DTYPES.get(precision)

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Encode a batch; a picture whose moments are not finite even in fp32 comes back as it is."""
        if self._dtype is None:
            return self._compute(pictures, None)
        moments = self._compute(pictures, self._dtype)
        broken = ~np.isfinite(moments).all(axis=(1, 2, 3))
        if broken.any():
            self.fallbacks += int(broken.sum())
            moments[broken] = self._compute(pictures[broken], None)
        return moments

    def _compute(self, pictures: np.ndarray, dtype: torch.dtype | None) -> np.ndarray:
        rgb = torch.from_numpy(pictures).to(self._device).permute(0, 3, 1, 2)  # in memory this is channels_last
        rgb = rgb.float() / 127.5 - 1
        with torch.inference_mode(), torch.autocast(self._device.type, dtype=dtype, enabled=dtype is not None):
            return self._encode(rgb).to(torch.float16).cpu().contiguous().numpy()
