"""The captions record, for people and other programs: a row per post and set, its words spelt, in ordered groups."""

from collections.abc import Mapping, Sequence

import polars as pl

from enogu.captions.config import MARK, CaptionsConfig
from enogu.captions.ragged import Ragged

SCHEMA: dict[str, pl.DataType] = {
    "post": pl.Int64(),
    "set": pl.String(),
    "groups": pl.List(pl.Struct({"name": pl.String(), "words": pl.List(pl.String())})),
    "text": pl.String(),  # for captions without groups; empty here, where sentences are a group as well
}


def record(posts: pl.DataFrame, said: pl.DataFrame, config: CaptionsConfig) -> pl.DataFrame:
    """Return the record of a batch of posts, from their words (row, group, text) in order."""
    rows = posts.select("id").with_row_index("row")
    found = []
    for name, one in config.sets.items():
        order = [group for group in one.order or config.order if group != MARK]
        groups = grouped(said, order)
        if one.fallback:
            silent = said.join(groups, on="row", how="anti", maintain_order="left")
            groups = pl.concat([groups, grouped(silent, one.fallback)])
        each = rows.join(groups, on="row", how="left", maintain_order="left")
        found.append(each.select(post="id", set=pl.lit(name), groups=pl.col("groups").fill_null([]), text=pl.lit("")))
    return pl.concat(found).cast(pl.Schema(SCHEMA))


def grouped(said: pl.DataFrame, order: Sequence[str]) -> pl.DataFrame:
    """Return (row, groups) of the words of some groups, in the order of these."""
    chosen = said.filter(pl.col("group").is_in(list(order)))
    place = pl.col("group").replace_strict({group: number for number, group in enumerate(order)}, return_dtype=pl.Int32)
    sorted_ = chosen.with_columns(place=place).sort("row", "place", maintain_order=True)
    groups = sorted_.group_by("row", "group", maintain_order=True).agg(words="text")
    return groups.group_by("row", maintain_order=True).agg(groups=pl.struct(name="group", words="words"))


def spelt(words: pl.DataFrame, vocabulary: pl.DataFrame) -> pl.DataFrame:
    """Return (row, group, text) of words by number."""
    return words.select("row").hstack(vocabulary[words["word"]])


def with_sentences(said: pl.DataFrame, posts: pl.DataFrame, texts: Mapping[str, Ragged]) -> pl.DataFrame:
    """Return words with the sentences of each post in their places."""
    ids = posts["id"].to_list()
    rows = said.with_row_index("place").filter(pl.col("group").is_in(list(texts)))
    told = [sentences(texts[group], ids[row]) for row, group in rows.select("row", "group").rows()]
    return said.with_columns(text=said["text"].scatter(rows["place"], told)) if told else said


def sentences(texts: Ragged, post: int) -> str:
    """Return what is told of a post."""
    row = texts.row(post)
    return "" if row is None else row.tobytes().decode()
