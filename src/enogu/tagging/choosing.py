"""From probabilities to tags: thresholds, ensembles, cuts, overlaps. Arrays in, arrays out."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Chosen = NDArray[np.bool_]

CHARACTER_FLOOR = 0.15  # under which a character's own cut does not go (SmilingWolf's demo)
NEGATIONS = frozenset({"no", "without"})  # the first word of a tag that says that something is not there


def agreed(probabilities: Floats, thresholds: Floats, how: str) -> tuple[Floats, Chosen]:
    """Return the probability (N, tags) of an ensemble and what it chooses.

    `probabilities` is (taggers, N, tags), `thresholds` (taggers, tags); both NaN where a tagger lacks the tag, so
    that only those who know a tag are asked: one of them (union), at least half of them (vote), or their mean or
    greatest probability against the mean of their thresholds.
    """
    seen = probabilities >= thresholds[:, None]
    knowing = np.maximum((~np.isnan(thresholds)).sum(axis=0), 1)
    greatest = how in ("union", "max")
    joint: Floats = np.nanmax(probabilities, axis=0) if greatest else np.nanmean(probabilities, axis=0)
    least = {"union": 1, "vote": (knowing + 1) // 2}
    if how in least:
        return joint, np.asarray(seen.sum(axis=0) >= least[how])
    return joint, joint >= np.nanmean(thresholds, axis=0)


def mcut(probabilities: Floats, floor: float = 0.0) -> Floats:
    """Return a threshold per row: the middle of the widest gap between its sorted values (Largeron et al. 2012)."""
    if probabilities.shape[1] < 2:
        return np.full((len(probabilities), 1), max(floor, 0.5), np.float32)
    ordered = -np.sort(-probabilities, axis=1)
    widest = (ordered[:, :-1] - ordered[:, 1:]).argmax(axis=1)
    rows = np.arange(len(ordered))
    middle: Floats = (ordered[rows, widest] + ordered[rows, widest + 1]) / 2
    return np.maximum(middle, np.float32(floor))[:, None]


def likeliest(chosen: Chosen, probabilities: Floats, most: int) -> Chosen:
    """Keep at most `most` of the chosen of each row; of equals, the earlier."""
    order = np.argsort(-np.where(chosen, probabilities, -1), axis=1, kind="stable")[:, :most]
    kept = np.zeros_like(chosen)
    np.put_along_axis(kept, order, True, axis=1)
    return kept & chosen


def without_overlaps(tags: Iterable[str], implied: Sequence[tuple[str, str]] = ()) -> list[str]:
    """Leave out what another tag says more exactly: `hat` beside `witch_hat`, but not `cat` beside `cat_ears`.

    A tag is said by another that ends in its words, unless that one begins with a negation (`no_hat`), and by
    another that implies it, as pairs (tag, implied tag).
    """
    kept = list(dict.fromkeys(tags))
    there = set(kept)
    said = {general for exact, general in implied if exact in there}
    for tag in kept:
        words = tag.split("_")
        if words[0] not in NEGATIONS:
            said |= {"_".join(words[start:]) for start in range(1, len(words))}
    return [tag for tag in kept if tag not in said]
