"""An exponential moving average of weights whose half-life is counted in images."""

from collections.abc import Mapping

import torch
from torch import Tensor


class Average:
    """Keeps fp32 averages of parameters by name."""

    def __init__(self, parameters: Mapping[str, Tensor], half_life_images: int) -> None:
        """Start at the parameters' values."""
        self.half_life_images = half_life_images
        self.values = {name: value.detach().float().clone() for name, value in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: Mapping[str, Tensor], *, images: int, batch: int) -> None:
        """Move towards the parameters by one batch; early on the horizon is a tenth of the images seen."""
        half_life = min(self.half_life_images, max(1.0, images * 0.1))
        keep = 0.5 ** (batch / half_life)
        torch._foreach_lerp_(list(self.values.values()), [parameters[name].float() for name in self.values], 1 - keep)

    @torch.no_grad()
    def swap(self, parameters: Mapping[str, Tensor]) -> None:
        """Exchange the averages with the parameters, in place; call it twice to undo."""
        for name, value in self.values.items():
            held = parameters[name].detach().clone()
            parameters[name].copy_(value)
            value.copy_(held)
