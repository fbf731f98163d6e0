"""The gate that cannot be opened: posts that sexualise minors never get past the reader."""

import tomllib
from collections.abc import Sequence
from importlib.resources import files

import polars as pl

from enogu.core.records.posts import CATEGORIES
from enogu.posts.query_masks import Relations
from enogu.posts.tag_index import Bools, TagIndex


def blocked(posts: pl.DataFrame) -> Bools:
    """Return which posts are on the blocklist, by their tags of every category."""
    lists = _lists()
    out = posts.select(_has_any([*lists["always"], *lists["unless_general"]])).to_series().to_numpy(writable=True)
    few = posts.filter(out)
    out[out] = few.select(_has_any(lists["always"]) | pl.col("rating").ne_missing("general")).to_series()
    return out


def barred(index: TagIndex, relations: Relations) -> Bools:
    """Return which posts are on the blocklist under any name: by an alias of a listed tag, or by what implies one."""
    lists = _lists()
    mild = _tagged(lists["unless_general"], index, relations) & ~index.coded("rating", ["general"])
    return _tagged(lists["always"], index, relations) | mild


def _tagged(listed: Sequence[str], index: TagIndex, relations: Relations) -> Bools:
    meant = {tag.lower() for name in listed for tag in relations.meaning(name)}
    return index.tagged(index.tags.filter(pl.col("tag").str.to_lowercase().is_in(list(meant)))["tag"])


def _lists() -> dict[str, list[str]]:
    lists: dict[str, list[str]] = tomllib.loads((files(__package__) / "blocklist.toml").read_text("utf-8"))
    return lists


def _has_any(tags: Sequence[str]) -> pl.Expr:
    listed = pl.element().str.to_lowercase().is_in(tags)
    return pl.any_horizontal(
        pl.col(f"tags_{kind}").list.eval(listed).list.any().fill_null(False) for kind in CATEGORIES
    )
