"""What the drawn booru and the mini tagger are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from enogu.core.networks.family import family
from enogu.core.records.errors import Refused
from enogu.core.records.reference import Ref

SMALLEST_SIDE = 32  # pixels; below it nothing can be recognised
NOVEL_LIMIT = 0.4  # two novel headwear kinds leave room for the known ones


@dataclass(frozen=True, kw_only=True)
class BooruConfig:
    """A drawn booru: how many posts, of which size, with how much that the base does not know."""

    posts: int = 2000
    seed: int = 0
    novel: float = 0.0  # the probability of each novel concept; 0 is the base's own population
    long_side: tuple[int, int] = (128, 256)  # of a picture, in pixels: least and most
    stretch: float = 0.45  # log of the widest aspect ratio

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        least, most = self.long_side
        if self.posts < 1:
            raise Refused(f"posts = {self.posts}: a booru has at least one post")
        if not 0 <= self.novel <= NOVEL_LIMIT:
            raise Refused(f"novel = {self.novel}: each concept's probability lies in 0 to {NOVEL_LIMIT}")
        if not SMALLEST_SIDE * 2 <= least <= most:
            raise Refused(f"long_side = [{least}, {most}]: give the least and the most, {SMALLEST_SIDE * 2} or more")
        if not 0 <= self.stretch <= 0.7:
            raise Refused(f"stretch = {self.stretch}: pictures more stretched than 0.7 (2 : 1) have no room to draw in")


@dataclass(frozen=True, kw_only=True)
class TaggerConfig:
    """A tagger for drawn pictures."""

    pictures: int = 24000  # drawn for training
    held_out: int = 3000  # drawn for thresholds, and again for the ceiling
    epochs: int = 8
    batch: int = 128
    side: int = 80  # of the model's input, in pixels
    width: float = 1.0  # of the network, as a multiple: members of an ensemble differ in it and in their seeds
    rate: float = 3e-3  # peak learning rate of AdamW
    decay: float = 0.02  # weight decay
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        for name in ("pictures", "held_out", "epochs", "batch"):
            if getattr(self, name) < 1:
                raise Refused(f"{name} = {getattr(self, name)} in [tagger]: give at least 1")
        if not 0.25 <= self.width <= 4:
            raise Refused(f"width = {self.width} in [tagger]: a multiple of the usual width, 0.25 to 4")
        if self.side < SMALLEST_SIDE or self.side % 16:
            raise Refused(f"side = {self.side} in [tagger]: give a multiple of 16, {SMALLEST_SIDE} or more")


@dataclass(frozen=True, kw_only=True)
class VaeConfig:
    """A mini autoencoder, in a checkpoint whose UNet and text encoder are still random.

    With `start`, only the decoder of a checkpoint is trained further, from blurred latents: the latents stay
    what they are, so models trained on them can take the new decoder (as sd-vae-ft-mse did for SD1).
    """

    family: str = "mini-sd1"
    start: Annotated[str | None, Ref("model")] = None
    latent_noise: float = 0.0  # normal noise on the latents that the decoder sees, as a share of their spread
    pictures: int = 8000  # drawn and sketched as sources of crops
    images: int = 80_000  # crops seen in training
    batch: int = 16
    rate: float = 1.5e-3  # peak learning rate of AdamW, falling to 0 as a cosine
    prior: float = 1e-3  # weight of the Gaussian prior
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        family(self.family)
        for name in ("pictures", "images", "batch"):
            if getattr(self, name) < 1:
                raise Refused(f"{name} = {getattr(self, name)} in [vae]: give at least 1")


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """A text encoder that has learnt to read tags; nothing else of `start` changes."""

    start: Annotated[str, Ref("model")]
    captions: Annotated[str | None, Ref("captions")] = None  # whose tags are taught; the drawn booru's if none
    common: int = 8  # captions that must say a tag for it to be taught
    updates: int = 1500
    batch: int = 96
    rate: float = 2e-3  # peak learning rate of AdamW
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        for name in ("updates", "batch", "common"):
            if getattr(self, name) < 1:
                raise Refused(f"{name} = {getattr(self, name)} in [text]: give at least 1")
