"""Texts to contexts for the UNet: each chunk encoded by itself, its weights laid on afterwards (A1111)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from enogu.core.networks.model import StableDiffusion
from enogu.core.records.errors import Failed
from enogu.sample.attention import attention
from enogu.sample.chunking import Chunk, chunks, empty_chunk

Emphasis = Literal["Original", "No norm"]

STEADY = (0.5, 2.0)  # "Original" rescales by a ratio of means, 1 but for a few percent unless a mean is near 0


def encode(model: StableDiffusion, texts: Sequence[str], *, emphasis: Emphasis, clip_skip: int) -> Tensor:
    """Return (texts, 77 n, C), n the chunks of the longest text; shorter ones end in empty chunks."""
    cut = [chunks(attention(text)) for text in texts]
    longest = max(len(one) for one in cut)
    padded = [one + [empty_chunk()] * (longest - len(one)) for one in cut]
    tokens = _table(padded, "ids").long().to(model.device)
    states = model.encode_text(tokens, clip_skip).reshape(*tokens.shape, -1)
    weights = _table(padded, "weights").to(states)
    weighted = [emphasised(states[:, k], weights[:, k], emphasis) for k in range(longest)]
    return torch.cat(weighted, dim=1)


def emphasised(states: Tensor, weights: Tensor, emphasis: Emphasis) -> Tensor:
    """Weigh (B, 77, C) by (B, 77); "Original" then gives the whole tensor back its mean (A1111)."""
    weighted = states * weights[..., None]
    if emphasis == "No norm" or bool((weights == 1).all()):
        return weighted
    ratio = (states.mean() / weighted.mean()).item()
    if not STEADY[0] < ratio < STEADY[1]:
        raise Failed(
            f'emphasis "Original" would multiply the text by {ratio:.3g}, because its mean is near 0 under these '
            'weights; use emphasis = "No norm", or weights nearer to 1'
        )
    return weighted * ratio


def _table(rows: Sequence[Sequence[Chunk]], field: Literal["ids", "weights"]) -> Tensor:
    return torch.tensor([[getattr(chunk, field) for chunk in row] for row in rows])
