"""The captions record: one row per post and caption set, its words in ordered groups."""

from collections.abc import Mapping, Sequence

import polars as pl

from enogu.captions.config import MARK, CaptionsConfig
from enogu.captions.spoken import tag_groups
from enogu.captions.words import rating_words, table, word

SCHEMA: dict[str, pl.DataType] = {
    "post": pl.Int64(),
    "set": pl.String(),
    "groups": pl.List(pl.Struct({"name": pl.String(), "words": pl.List(pl.String())})),
    "text": pl.String(),
}
NOTHING = pl.lit(None, dtype=pl.String)


def compose(posts: pl.DataFrame, everyone: pl.DataFrame, config: CaptionsConfig) -> pl.DataFrame:
    """Return the captions of `posts`; percentiles are among `everyone` that the source had."""
    told = posts.join(_numbers(everyone, config), on="id", how="left", maintain_order="left")
    groups = {
        **tag_groups(told, drop=config.drop, drop_noise=config.drop_noise),
        "quality": _words("quality_word"),
        "aesthetic": _words("aesthetic_word"),
        "rating": rating_words(config.rating) if config.rating else pl.lit([], dtype=pl.List(pl.String)),
        "year": _words("year_number", "year_word"),
    }
    rows = [
        told.select(
            post=pl.col("id"),
            set=pl.lit(name),
            groups=_in_order(groups, one.order or config.order),
            text=pl.lit(""),
        )
        for name, one in config.sets.items()
    ]
    return pl.concat(rows).cast(pl.Schema(SCHEMA)).sort("set", "post", maintain_order=True)


def _numbers(everyone: pl.DataFrame, config: CaptionsConfig) -> pl.DataFrame:
    """Return the quality, aesthetic and year words of every post; without a table, none."""
    chosen = {"quality": config.quality, "aesthetic": config.aesthetic, "year": config.year}
    said = {f"{kind}_word": word(table(kind, name)) if name else NOTHING for kind, name in chosen.items()}
    number = pl.format("year {}", pl.col("created_at").dt.year()) if config.year_number else NOTHING
    return everyone.select("id", **said, year_number=number).unique("id", keep="first")


def _words(*columns: str) -> pl.Expr:
    return pl.concat_list(columns).list.drop_nulls()


def _in_order(groups: Mapping[str, pl.Expr], order: Sequence[str]) -> pl.Expr:
    named = [pl.struct(name=pl.lit(kind), words=groups[kind]) for kind in order if kind != MARK]
    return pl.concat_list(named)
