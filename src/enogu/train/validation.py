"""Validation with the same pictures, noise and timesteps every time, so that the curve moves only with the weights."""

from dataclasses import dataclass

import numpy as np
import torch

from enogu.core.diffusion.noise import noise_batch
from enogu.core.records.seed import derive
from enogu.train.data import Captions, LatentSet, encode
from enogu.train.objective import Draws, Objective

DRAWS = 4  # timesteps per picture, at quantiles of the range


@dataclass(frozen=True)
class Validation:
    """Held-out pictures of one latents record."""

    data: LatentSet
    captions: Captions
    seed: int
    chunks: int
    set: str = "tags"  # of the captions, as the phase reads them
    timesteps: int = 1000

    @torch.no_grad()
    def loss(self, objective: Objective, *, batch: int = 64) -> float:
        """Return the mean unweighted squared error over pictures and timesteps."""
        errors: list[torch.Tensor] = []
        for _, part in sorted(self.data.held_out.group_by("width", "height")):
            for first in range(0, len(part), batch):
                rows = np.arange(first, min(first + batch, len(part)))
                errors += self._errors(objective, part, rows)
        return float(torch.cat(errors).double().mean())

    def _errors(self, objective: Objective, part: object, rows: np.ndarray) -> list[torch.Tensor]:
        moments, posts = self.data.read(part, rows)  # type: ignore[arg-type]
        tokens = encode([self.captions.plain(post, self.set) for post in posts], self.chunks)
        shape = (moments.shape[1] // 2, *moments.shape[2:])
        found = []
        for number in range(DRAWS):
            keys = [derive(self.seed, "validation noise", post, number) for post in posts]
            shares = [derive(self.seed, "validation timestep", post, number) / 2**63 for post in posts]
            t = torch.tensor([int((number + share) / DRAWS * self.timesteps) for share in shares])
            draws = Draws(torch.zeros(len(posts), *shape), noise_batch(keys, shape), t)
            errors = objective.errors(moments, tokens, draws)
            if not errors.isfinite().all():
                errors = objective.precise().errors(moments, tokens, draws)
            found.append(errors.cpu())
        return found
