"""A post of the drawn booru: traits, size, file kind, date and how much people liked it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from numpy.random import Generator

from enogu.core.records.seed import derive, generator
from enogu.mini.config import SMALLEST_SIDE, BooruConfig
from enogu.mini.population import sample_traits
from enogu.mini.traits import Traits, choice, general_tags

COPYRIGHT = "original"
KINDS: Mapping[str, float] = MappingProxyType({"jpg": 0.5, "png": 0.25, "webp": 0.25})
ARTIFACTS = 0.2  # quality below which the wear is worth a tag


@dataclass(frozen=True, kw_only=True)
class Post:
    """One post; everything but the pixels, which follow from `traits`, `width`, `height` and `draw_seed`."""

    id: int
    traits: Traits
    width: int
    height: int
    ext: str
    created_at: datetime
    draw_seed: int
    aesthetic: float
    up_score: int
    down_score: int
    fav_count: int
    meta: tuple[str, ...]

    @property
    def image(self) -> str:
        """The image's path below the booru's folder."""
        return f"images/{self.id:06d}.{self.ext}"

    @property
    def tags(self) -> dict[str, tuple[str, ...]]:
        """Tags by category, with danbooru's category names."""
        names = tuple(dict.fromkeys(figure.name for figure in self.traits.figures if figure.name))
        return {
            "general": general_tags(self.traits),
            "artist": (self.traits.artist,),
            "copyright": (COPYRIGHT,),
            "character": names,
            "meta": self.meta,
        }


def compose(config: BooruConfig) -> list[Post]:
    """Every post of a booru, numbered by date."""
    drafts = sorted((_draft(config, index) for index in range(config.posts)), key=lambda post: post.created_at)
    return [replace(post, id=number) for number, post in enumerate(drafts, 1)]


def _draft(config: BooruConfig, index: int) -> Post:
    traits = sample_traits(config.seed, index, novel=config.novel)
    rng = generator(config.seed, "post", index)
    width, height = _sides(config, rng, wide=traits.count == "2girls")
    aesthetic = 2.0 + 6.5 * traits.quality - 0.5 * (traits.background == "white_background") + rng.normal(0, 0.4)
    crowd = 50 * traits.quality**1.5 * choice("rating", traits.rating).fans * math.exp(rng.normal(0, 0.3))
    return Post(
        id=index,
        traits=traits,
        width=width,
        height=height,
        ext=str(rng.choice(list(KINDS), p=list(KINDS.values()))),
        created_at=datetime(traits.year, 1, 1, tzinfo=UTC) + timedelta(seconds=int(rng.integers(365 * 86400))),
        draw_seed=derive(config.seed, "draw", index),
        aesthetic=round(min(10.0, max(0.0, aesthetic)), 3),
        up_score=round(crowd),
        down_score=-int(rng.poisson(3 * (1 - traits.quality) ** 2)),
        fav_count=round(1.3 * crowd * math.exp(rng.normal(0, 0.25))),
        meta=_meta(config, traits, max(width, height)),
    )


def _sides(config: BooruConfig, rng: Generator, *, wide: bool) -> tuple[int, int]:
    long = int(rng.integers(config.long_side[0], config.long_side[1] + 1))
    lean = rng.uniform(-0.2, 1.0) if wide else rng.uniform(-1.0, 1.0)
    short = max(SMALLEST_SIDE, round(long * math.exp(-abs(lean) * config.stretch)))
    return (long, short) if lean > 0 else (short, long)


def _meta(config: BooruConfig, traits: Traits, long: int) -> tuple[str, ...]:
    least, most = config.long_side
    tags = []
    if long > least + 0.75 * (most - least):
        tags.append("highres")
    if traits.quality < ARTIFACTS:
        tags.append("jpeg_artifacts")
    return tuple(tags)
