"""How far the tags that models see agree with those that people gave."""

from collections.abc import Mapping, Sequence

import polars as pl

ALL = "all"


def agreement(posts: pl.DataFrame, known: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
    """Return recall and precision by kind and of all kinds, counted over pairs of post and tag.

    `posts` has seen_KIND beside the site's tags_KIND; only tags that models know are counted. A site where tags are
    missing makes precision look worse than it is.
    """
    counts = {kind: _counts(posts, kind, tags) for kind, tags in known.items()}
    if counts:
        counts[ALL] = tuple(map(sum, zip(*counts.values(), strict=True)))
    return {
        kind: {"recall": round(both / said, 4), "precision": round(both / seen, 4)}
        for kind, (both, said, seen) in counts.items()
        if said and seen
    }


def _counts(posts: pl.DataFrame, kind: str, tags: Sequence[str]) -> tuple[int, ...]:
    """Return how many tags both name, the site names and models name."""
    seen, listed = pl.col(f"seen_{kind}"), pl.Series(tags, dtype=pl.String).implode()
    said = pl.col(f"tags_{kind}").list.eval(pl.element().filter(pl.element().is_in(listed)))
    looked_at = posts.filter(seen.is_not_null())
    numbers = looked_at.select(
        both=said.list.set_intersection(seen).list.len().sum(), said=said.list.len().sum(), seen=seen.list.len().sum()
    )
    return tuple(int(number) for number in numbers.row(0))
