"""Who is drawn: traits sampled independently, one picture per index, from tables and a seed."""

from __future__ import annotations

from dataclasses import replace

from numpy.random import Generator

from enogu.core.records.seed import generator
from enogu.mini.traits import YEARS, Figure, Traits, characters, tables

KNOWN = 0.08  # of the figures are recurring characters


def sample_traits(seed: int, index: int, *, novel: float = 0.0) -> Traits:
    """The traits of picture `index`; each novel concept appears with probability `novel`."""
    rng = generator(seed, "traits", index)
    count = _pick(rng, "count")
    figures = tuple(_figure(rng, boy=count == "1boy", novel=novel) for _ in range(2 if count == "2girls" else 1))
    return Traits(
        figures=figures,
        background=_pick(rng, "background"),
        framing=_pick(rng, "framing"),
        count=count,
        artist=_pick(rng, "artist", novel=novel),
        rating=_pick(rng, "rating"),
        year=int(rng.integers(YEARS[0], YEARS[1] + 1)),
        quality=float(rng.beta(2.2, 1.3)),
    )


def _figure(rng: Generator, *, boy: bool, novel: float) -> Figure:
    figure = _stranger(rng, boy=boy, novel=novel)
    if rng.random() >= KNOWN:
        return figure
    cast = [known for known in characters().values() if known.boy == boy]
    known = cast[int(rng.integers(len(cast)))]
    return replace(known, expression=figure.expression)


def _stranger(rng: Generator, *, boy: bool, novel: float) -> Figure:
    return Figure(
        boy=boy,
        hair_colour=_pick(rng, "hair_colour"),
        hair_length=_pick(rng, "hair_length", boy=boy),
        hair_style=_pick(rng, "hair_style", boy=boy),
        eye_colour=_pick(rng, "eye_colour"),
        expression=_pick(rng, "expression"),
        headwear=_pick(rng, "headwear", novel=novel),
        shirt=_pick(rng, "shirt"),
    )


def _pick(rng: Generator, attribute: str, *, novel: float = 0.0, boy: bool = False) -> str:
    """Pick by weight; the novel choices of an attribute have the share `novel` each."""
    rows = list(tables()[attribute].values())
    fresh = [row for row in rows if row.novel]
    roll = rng.random()
    if fresh and roll < novel * len(fresh):
        return fresh[int(roll / novel)].tag
    known = [row for row in rows if not row.novel]
    shares = [row.weight if row.boy is None or not boy else row.boy for row in known]
    return known[int(rng.choice(len(known), p=[share / sum(shares) for share in shares]))].tag
