"""Which modules of a checkpoint an extraction keeps, and in which form."""

import re
from dataclasses import dataclass
from typing import Literal

from enogu.core.networks.keys import place
from enogu.merge.adapters.config import ExtractConfig
from enogu.merge.adapters.names import Site

# what kohya's LoRA covers: transformers of the UNet, attention and feed-forward of the text encoders
ATTENTION = re.compile(r".*\.(transformer_blocks\.|proj_in\.|proj_out\.|self_attn\.|attn\.|mlp\.)")
EMBEDDINGS = re.compile(r".*(token_embedding|position_embedding|positional_embedding)")
Form = Literal["factors", "whole", ""]


@dataclass(frozen=True)
class Target:
    """What becomes of a module's weight: factors of some rank, the whole difference, or nothing and why."""

    form: Form
    rank: int = 0
    why: str = ""


def target(site: Site, config: ExtractConfig) -> Target:
    """Decide about a module's weight."""
    component = place(site.weight).component
    if component == "vae":
        return Target("", why="the VAE, which adapters do not change")
    if EMBEDDINGS.match(site.weight):
        return Target("", why="embeddings, which adapters do not change")
    if len(site.shape) < 2:
        return Target("whole") if config.rest else Target("", why="norms and biases (rest)")
    if ATTENTION.match(site.weight) and not place(site.weight).fixed:
        return Target("factors", config.rank)
    if not config.conv_rank:
        return Target("", why="convolutions and embeddings of time (conv_rank)")
    return Target("factors", config.conv_rank if _kernel(site) > 1 else config.rank)


def _kernel(site: Site) -> int:
    return site.shape[2] * site.shape[3] if len(site.shape) == 4 else 1
