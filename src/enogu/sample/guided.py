"""Guidance over a batch of pictures: every prompt part and the negative prompt in as few network calls as fit.

Contexts of one length share a call, as A1111's conditional and unconditional passes do; others get their own.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from enogu.core.diffusion.denoiser import Denoiser
from enogu.core.diffusion.guidance import cfg_factors


@dataclass(frozen=True)
class Context:
    """One prompt part encoded: its weight, the last call of each variant, and the variants (V, M, C)."""

    weight: float
    until: tuple[int, ...]
    states: Tensor

    def at(self, call: int) -> Tensor:
        """Return the variant of a call counted from 0; like A1111, the first lives one call longer than it says."""
        return self.states[next(index for index, until in enumerate(self.until) if call <= until)]


@dataclass(frozen=True)
class Conditioning:
    """What one picture is drawn from."""

    positive: tuple[Context, ...]
    negative: Context


class Guided:
    """A denoiser for one run of a sampler over a batch: counts its calls, which prompt editing goes by."""

    def __init__(self, denoiser: Denoiser, conditionings: Sequence[Conditioning], scale: float) -> None:
        """Keep one conditioning per picture."""
        self.denoiser = denoiser
        self.conditionings = conditionings
        self.scale = scale
        self.calls = 0

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """Return the guided x0 of every picture."""
        x0 = torch.zeros_like(x)
        for length in self._passes().values():
            rows = torch.tensor([row for row, _, _ in length], device=x.device)
            factors = torch.tensor([factor for _, factor, _ in length]).to(x)
            said = self.denoiser(x[rows], sigma, torch.stack([context for _, _, context in length]))
            x0.index_add_(0, rows, said * factors[:, None, None, None])
        self.calls += 1
        return x0

    def _passes(self) -> dict[int, list[tuple[int, float, Tensor]]]:
        passes: dict[int, list[tuple[int, float, Tensor]]] = defaultdict(list)
        for row, one in enumerate(self.conditionings):
            rest, factors = cfg_factors([part.weight for part in one.positive], self.scale)
            for factor, part in zip([*factors, rest], [*one.positive, one.negative], strict=True):
                if factor:
                    context = part.at(self.calls)
                    passes[len(context)].append((row, factor, context))
        return passes
