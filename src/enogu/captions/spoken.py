"""Tags as they are said: which count as what, underscores to spaces, and which stay unsaid."""

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import polars as pl

TAGGED = ("character", "copyright", "artist", "general", "meta")  # groups that are categories of tags


def tag_groups(posts: pl.DataFrame, *, drop: Sequence[str], drop_noise: bool) -> dict[str, pl.Expr]:
    """Return an expression for each tag group: the words of a post, as a list."""
    lists = _lists()
    groups = {}
    for kind in TAGGED:
        noise = lists.get(f"noise_{kind}", ()) if drop_noise else ()
        vocabulary = posts.get_column(f"tags_{kind}").explode(empty_as_null=False).unique().drop_nulls()
        dropped = _matching([*drop, *noise])
        said = {tag: spoken(tag) for tag in vocabulary if not dropped.fullmatch(tag)}
        groups[kind] = _said(pl.col(f"tags_{kind}"), said)
        if kind == "general":
            counts = {tag: word for tag, word in said.items() if tag in lists["count"]}
            groups["count"] = _said(pl.col("tags_general"), counts)
            groups["general"] = _said(pl.col("tags_general"), {tag: said[tag] for tag in said.keys() - counts.keys()})
    return groups


def spoken(tag: str) -> str:
    """Return a tag with spaces for underscores, unless it is a face."""
    return tag if tag in _lists()["kaomoji"] else tag.replace("_", " ")


def _said(tags: pl.Expr, words: dict[str, str]) -> pl.Expr:
    old, new = pl.Series(list(words), dtype=pl.String), pl.Series(list(words.values()), dtype=pl.String)
    return tags.list.eval(pl.element().replace_strict(old, new, default=None).drop_nulls())


def _matching(patterns: Sequence[str]) -> re.Pattern[str]:
    """Return a pattern for any of these tags; the one wildcard is *, since ?, [ and ] are part of real tags."""
    tags = [pattern.strip().replace(" ", "_") for pattern in patterns]
    return re.compile("|".join(".*".join(re.escape(part) for part in tag.split("*")) for tag in tags) or r"(?!)")


@cache
def _lists() -> dict[str, frozenset[str]]:
    raw = tomllib.loads((files(__package__) / "tags.toml").read_text("utf-8"))
    return {name: frozenset(tags) for name, tags in raw.items()}
