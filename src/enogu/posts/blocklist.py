"""The gate that cannot be opened: posts that sexualise minors never get past the reader."""

import tomllib
from collections.abc import Sequence
from importlib.resources import files

import polars as pl

from enogu.core.records.posts import CATEGORIES


def blocked() -> pl.Expr:
    """Return the expression that is true for a post on the blocklist, by its tags of every category."""
    lists: dict[str, list[str]] = tomllib.loads((files(__package__) / "blocklist.toml").read_text("utf-8"))
    return _has_any(lists["always"]) | (_has_any(lists["unless_general"]) & (pl.col("rating") != "general"))


def _has_any(tags: Sequence[str]) -> pl.Expr:
    listed = pl.element().str.to_lowercase().is_in(tags)
    return pl.any_horizontal(pl.col(f"tags_{kind}").list.eval(listed).list.any() for kind in CATEGORIES)
