"""Captions of posts, batch by batch: the words of each post by number, and the record with their spelling."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from enogu.captions.config import TAGGED, CaptionsConfig
from enogu.captions.lexicon import TEXT, Lexicon, lexicon, seen
from enogu.captions.ragged import Ragged
from enogu.captions.words import add_word, check_ratings, check_span, rating_table, table

BATCH = 10_000  # posts; what they need in memory is about 100 MB
TABLED = ("quality", "aesthetic", "year")


@dataclass(frozen=True)
class Composer:
    """All that is needed to say what a batch of posts says."""

    lexicon: Lexicon
    numbers: pl.DataFrame  # id, and a column of word numbers for each word that comes from a number
    ratings: pl.DataFrame  # rating, word
    texts: Mapping[str, Ragged]
    groups: tuple[str, ...]  # as stored
    rank: NDArray[np.int64]  # of each word's group
    adds: bool = False  # say implied tags too, instead of leaving them out

    def words(self, posts: pl.DataFrame) -> pl.DataFrame:
        """Return (row, word) of a batch, in order."""
        rows = posts.with_row_index("row")
        found = [*self._tags(rows), *self._numbers(rows), *self._texts(rows)]
        long = pl.concat(found).unique(["row", "word"], keep="first", maintain_order=True)
        if len(self.lexicon.implied):
            long = self._with_all(long) if self.adds else self._without_implied(long)
        order = np.lexsort((self.rank[long["word"].to_numpy()], long["row"].to_numpy()))
        return long[order]

    def speaking(self, words: pl.DataFrame) -> NDArray[np.int64]:
        """Return how many posts of a batch say something of each group, in stored order."""
        groups = len(self.groups)
        pairs = np.unique(words["row"].to_numpy().astype(np.int64) * groups + self.rank[words["word"].to_numpy()])
        return np.bincount(pairs % groups, minlength=groups)

    def _tags(self, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        for category, tags in self.lexicon.tags.group_by("category", maintain_order=True):
            column = f"tags_{category[0]}"
            long = rows.select("row", tag=pl.col(column)).explode("tag", empty_as_null=False)
            yield long.join(tags, on="tag", maintain_order="left").select("row", "word")

    def _numbers(self, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        told = rows.select("row", "id").join(self.numbers, on="id", how="left", maintain_order="left")
        for column in self.numbers.columns[1:]:
            yield told.select("row", word=column).drop_nulls()
        if len(self.ratings):
            rated = rows.select("row", "rating").join(self.ratings, on="rating", maintain_order="left_right")
            yield rated.select("row", "word")

    def _texts(self, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        for group, texts in self.texts.items():
            number = self.lexicon.numbers(group).get(TEXT)
            if number is not None:
                has = rows.filter(pl.Series(texts.has(rows["id"].to_numpy())))
                yield has.select("row", word=pl.lit(number, dtype=pl.UInt32))

    def _without_implied(self, long: pl.DataFrame) -> pl.DataFrame:
        pairs = long.join(self.lexicon.implied, on="word").select("row", word="implied")
        return long.join(pairs, on=["row", "word"], how="anti", maintain_order="left")

    def _with_all(self, long: pl.DataFrame) -> pl.DataFrame:
        pairs = long.join(self.lexicon.implied, on="word", maintain_order="left_right").select("row", word="implied")
        return pl.concat([long, pairs]).unique(["row", "word"], keep="first", maintain_order=True)


def composer(
    posts: pl.LazyFrame, everyone: pl.LazyFrame, config: CaptionsConfig, *, texts: Mapping[str, Path]
) -> Composer:
    """Prepare captions of `posts`; percentiles are among `everyone` that the source had."""
    words = numbers(posts, everyone, config)
    ratings = _ratings(posts, config)
    told = [
        words.select(group=pl.lit(column.partition(".")[0]), text=pl.col(column).cast(pl.String)).unique()
        for column in words.columns[1:]
    ]
    told.append(ratings.select(group=pl.lit("rating"), text="text"))
    told.append(pl.DataFrame([(group, TEXT) for group in texts], schema=["group", "text"], orient="row"))
    schema = pl.Schema({"group": pl.String(), "text": pl.String()})
    spoken = pl.concat([one.cast(schema) for one in told]).drop_nulls().filter(pl.col("group").is_in(config.said()))
    known = lexicon(seen(posts), config, spoken)
    place = {group: number for number, group in enumerate(config.said())}
    return Composer(
        lexicon=known,
        numbers=_numbered(words, known),
        ratings=_numbered_ratings(ratings, known),
        texts={group: Ragged(path) for group, path in texts.items()},
        groups=config.said(),
        rank=np.array([place[group] for group in known.vocabulary["group"]], dtype=np.int64),
        adds=config.implied == "add",
    )


def numbers(posts: pl.LazyFrame, everyone: pl.LazyFrame, config: CaptionsConfig) -> pl.DataFrame:
    """Return the words that the numbers of each of `posts` give: a column GROUP.KIND for each."""
    rising = everyone.select((pl.col("id").diff() > 0).all()).collect().item()  # as imports write them: no post twice
    told, columns = everyone if rising else everyone.unique("id", keep="first"), list[str]()
    for kind in TABLED:
        if name := getattr(config, kind):
            chosen = table(kind, name, config.words)
            check_span(posts, chosen, kind)
            columns.append(f"{kind}.word")
            told = add_word(told, chosen, columns[-1])
    if config.year_number:
        columns.insert(len(columns) - bool(config.year), "year.number")
        told = told.with_columns(pl.format("year {}", pl.col("created_at").dt.year()).alias("year.number"))
    if everyone is not posts:
        told = told.join(posts.select("id"), on="id", how="semi")
    return told.select("id", *columns).collect(engine="streaming")


def foresee(config: CaptionsConfig, models: Mapping[str, Path], *, family: str) -> None:
    """Refuse tables of words that there are not."""
    for kind in TABLED:
        if name := getattr(config, kind):
            table(kind, name, config.words)
    if config.rating:
        rating_table(config.rating, config.words)


def batches(posts: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """Yield posts a batch at a time."""
    for batch in posts.collect_batches(chunk_size=BATCH, maintain_order=True):
        yield from batch.iter_slices(BATCH)


def needed(posts: pl.LazyFrame) -> pl.LazyFrame:
    """Return only the columns that captions are made of."""
    columns = posts.collect_schema()
    return posts.select("id", "rating", *(name for kind in TAGGED if (name := f"tags_{kind}") in columns))


def _ratings(posts: pl.LazyFrame, config: CaptionsConfig) -> pl.DataFrame:
    schema = {"rating": pl.String, "text": pl.String}
    if not config.rating:
        return pl.DataFrame(schema=schema)
    words = rating_table(config.rating, config.words)
    check_ratings(posts, words, config.rating)
    return pl.DataFrame([(rating, one) for rating, said in words.items() for one in said], schema=schema, orient="row")


def _numbered(words: pl.DataFrame, known: Lexicon) -> pl.DataFrame:
    """Return words of numbers by number; a column of a group that is not said goes."""
    columns = {}
    for column in words.columns[1:]:
        if named := known.numbers(column.partition(".")[0]):
            said = pl.col(column).cast(pl.String)
            columns[column] = said.replace_strict(named, default=None, return_dtype=pl.UInt32)
    return words.select("id", **columns)


def _numbered_ratings(ratings: pl.DataFrame, known: Lexicon) -> pl.DataFrame:
    named = known.numbers("rating")
    word = pl.col("text").replace_strict(named, default=None, return_dtype=pl.UInt32)
    return ratings.select("rating", word=word).drop_nulls()
