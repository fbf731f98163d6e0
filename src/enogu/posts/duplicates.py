"""Groups of near pictures: all pairs of 64-bit hashes that differ in a few bits, and what hangs together by them.

Hashes are cut into blocks; two that differ in at most d of 64 bits agree in all but d of the blocks, so that sorting by
every choice of the other blocks brings each pair side by side once at least (Manku, Jain and Das Sarma, Detecting
near-duplicates for web crawling, 2007, who also take 3 of 64 bits). Nothing within the distance is missed.
"""

from collections.abc import Iterator
from itertools import combinations, pairwise
from math import comb
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from enogu.core.records.errors import Refused
from enogu.core.records.progress import Progress, silent

BITS = 64
DISTANCE = 3  # among ten million even hashes fewer than one pair is as near by chance; at 4 there are two, at 8 14,000
FARTHEST = 16
TELLING = 20  # ones of a hash that has no ties: half of its bits are above their median
Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]


Block = tuple[int, int]  # its first bit and its length, counted from the lowest


def groups(hashes: Hashes, distance: int = DISTANCE, progress: Progress = silent) -> Ints:
    """Return a group for each hash: the place of the first one it hangs together with, by steps of the distance."""
    distinct, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    roots = np.arange(len(distinct))
    for left, right in _near(distinct, distance, progress):
        _join(roots, np.searchsorted(distinct, left), np.searchsorted(distinct, right))
    earliest = np.full(len(distinct), len(hashes))
    np.minimum.at(earliest, roots, first)
    return earliest[roots][which]


def pairs(hashes: Hashes, distance: int = DISTANCE) -> set[tuple[int, int]]:
    """Return every pair of different hashes within the distance, the lesser first."""
    distinct = np.unique(hashes)
    return {
        (min(one, other), max(one, other))
        for left, right in _near(distinct, distance, silent)
        for one, other in zip(left.tolist(), right.tolist(), strict=True)
    }


def _near(distinct: Hashes, distance: int, progress: Progress) -> Iterator[tuple[Hashes, Hashes]]:
    """Yield all pairs of hashes within the distance, some of them several times."""
    if not 0 <= distance <= FARTHEST:
        raise Refused(f"distance {distance}: give 0 to {FARTHEST} of {BITS} bits; {DISTANCE} is for millions")
    blocks = _blocks(len(distinct), distance)
    choices = list(combinations(blocks, len(blocks) - distance))
    for number, agreeing in enumerate(choices):
        others = tuple(block for block in blocks if block not in agreeing)
        moved = np.sort(_moved(distinct, (*agreeing, *others)))
        for left, right in _neighbours(moved, sum(length for _, length in agreeing), distance):
            yield _moved_back(left, (*agreeing, *others)), _moved_back(right, (*agreeing, *others))
        progress(number + 1, len(choices), "ways to compare")


def _blocks(count: int, distance: int) -> list[Block]:
    """Cut the bits so that there is as little work as can be."""

    def work(number: int) -> float:
        alike = count * count / 2 / 2.0 ** (BITS * (number - distance) / number)  # pairs to look at by chance
        return float(comb(number, distance) * (20.0 * count + alike))  # sorting one costs as much as some 20 looks

    number = min(range(distance + 1, min(distance + 9, BITS)), key=work)
    edges = [BITS * place // number for place in range(number + 1)]
    return [(low, high - low) for low, high in pairwise(edges)]


def _moved(hashes: Hashes, order: tuple[Block, ...]) -> Hashes:
    """Bring blocks into an order, the first one on top."""
    moved, top = np.zeros_like(hashes), BITS
    for low, length in order:
        top -= length
        moved |= (hashes >> np.uint64(low) & np.uint64((1 << length) - 1)) << np.uint64(top)
    return moved


def _moved_back(moved: Hashes, order: tuple[Block, ...]) -> Hashes:
    hashes, top = np.zeros_like(moved), BITS
    for low, length in order:
        top -= length
        hashes |= (moved >> np.uint64(top) & np.uint64((1 << length) - 1)) << np.uint64(low)
    return hashes


def _neighbours(ordered: Hashes, top: int, distance: int) -> Iterator[tuple[Hashes, Hashes]]:
    """Yield the near ones of those that agree in their top bits: next to each other, then two apart, and so on."""
    limit = np.uint64(1 << (BITS - top))  # what two that agree differ by is less
    places, step = np.flatnonzero((ordered[1:] ^ ordered[:-1]) < limit), 1
    while len(places):
        apart = ordered[places] ^ ordered[places + step]
        places, apart = places[apart < limit], apart[apart < limit]
        near = np.bitwise_count(apart) <= distance
        yield ordered[places[near]], ordered[places[near] + step]
        step += 1
        places = places[places < len(ordered) - step]


def _join(roots: Ints, left: Ints, right: Ints) -> None:
    """Bring together what pairs say, in place: each root hangs on the least it meets (Shiloach and Vishkin 1982)."""
    while len(left):
        one, other = roots[left], roots[right]
        apart = one != other
        left, right, one, other = left[apart], right[apart], one[apart], other[apart]
        np.minimum.at(roots, np.maximum(one, other), np.minimum(one, other))
        while len(left) and (roots[roots] != roots).any():
            np.copyto(roots, roots[roots])


def grouped(posts: pl.DataFrame, seen: pl.DataFrame, distance: int = DISTANCE) -> pl.DataFrame:
    """Return the posts with `group`: the place of the first that is near, by what the audit saw of their images.

    A flat or striped picture has a hash of ties, which is near to every other such: it is only grouped with its equals.
    """
    hashed = posts.join(seen, on="image", how="left", maintain_order="left")
    hashes = hashed["phash"].fill_null(0).to_numpy()
    telling = np.bitwise_count(hashes) >= TELLING
    place = np.arange(len(posts))
    place[telling] = np.flatnonzero(telling)[groups(hashes[telling], distance)]
    equals = hashed.select(place=pl.Series(place), equal=pl.coalesce("pixel_hash", "image"))
    return posts.with_columns(group=equals.select(pl.col("place").min().over("equal"))["place"])


def best(posts: pl.DataFrame) -> pl.DataFrame:
    """Keep the best post of each group, by score, then by pixels, then the oldest; the order stays."""
    pixels = pl.col("width").cast(pl.Int64) * pl.col("height")
    ranked = posts.sort(
        pl.col("score"), pixels, -pl.col("id"), descending=True, nulls_last=True, maintain_order=True
    ).unique("group", keep="first", maintain_order=True)
    return posts.filter(pl.col("id").is_in(ranked["id"].implode()))


def seen(folder: Path) -> pl.DataFrame:
    """Read the hashes that the audit of a posts stage kept."""
    parts = sorted((folder / "audit").glob("*.parquet"))
    if not parts:
        raise Refused(f"{folder} keeps no hashes of its images: it has no audit; run its posts stage")
    return pl.scan_parquet(parts).select("image", "phash", "pixel_hash").unique("image").collect()
