"""The lexicon of some posts: every tag that they have, the word it is said as, the group of that word."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from enogu.captions.config import TAGGED, CaptionsConfig
from enogu.captions.spoken import lists, matching, spoken
from enogu.core.records.tag_relations import canonical, closure, read_pairs

TEXT = ""  # the entry of a group of sentences, whose words differ from post to post
Implied = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Lexicon:
    """Tags to words, words to numbers."""

    tags: pl.DataFrame  # category, tag, word
    implied: pl.DataFrame  # word, implied: a word that need not be said, or must be added
    vocabulary: pl.DataFrame  # group, text; the word's number is its row

    def numbers(self, group: str) -> dict[str, int]:
        """Return the number of each word of a group."""
        return dict(self.vocabulary.with_row_index("word").filter(group=group).select("text", "word").rows())


def seen(posts: pl.LazyFrame) -> pl.DataFrame:
    """Return every tag of some posts by category."""
    columns = [kind for kind in TAGGED if f"tags_{kind}" in posts.collect_schema()]
    found = [
        posts.select(tag=pl.col(f"tags_{kind}").explode(empty_as_null=False)).unique().collect(engine="streaming")
        for kind in columns
    ]
    frames = [tags.select(category=pl.lit(kind), tag="tag") for kind, tags in zip(columns, found, strict=True)]
    return pl.concat(frames).drop_nulls().filter(pl.col("tag").str.strip_chars() != "").sort("category", "tag")


def lexicon(tags: pl.DataFrame, config: CaptionsConfig, spoken_numbers: pl.DataFrame) -> Lexicon:
    """Return the lexicon of tags seen, and of the words (group, text) that come from elsewhere."""
    names = canonical(read_pairs(Path(config.aliases))) if config.aliases else {}
    implied = closure(read_pairs(Path(config.implications)), names) if config.implications else {}
    rows = tags.with_columns(name=pl.col("tag").replace(names)) if names else tags.with_columns(name="tag")
    if config.implied == "add":
        rows = _with_implied(rows, implied)
    rows = _said(rows.unique(["category", "tag"]), config)
    vocabulary = pl.concat([rows.select("group", "text"), spoken_numbers]).unique().sort("group", "text")
    numbered = vocabulary.with_row_index("word")
    rows = rows.join(numbered, on=["group", "text"])
    pairs = _pairs(rows, implied if config.implied != "keep" else {})
    return Lexicon(rows.select("category", "tag", "word").sort("category", "tag"), pairs, vocabulary)


def _said(rows: pl.DataFrame, config: CaptionsConfig) -> pl.DataFrame:
    """Add the group and the spelling of each tag; leave out those that are not said."""
    noise = {kind: matching(lists().get(f"noise_{kind}", ()) if config.drop_noise else ()) for kind in TAGGED}
    own = [(name, group.of, matching(group.tags)) for name, group in config.groups.items()]
    own.append(("count", "general", matching(lists()["count"])))
    own = [one for one in own if one[0] in config.said()]  # else its tags stay where they are
    dropped = matching(config.drop)
    groups: list[str | None] = []
    for category, tag, name in rows.select("category", "tag", "name").rows():
        unsaid = any(pattern.fullmatch(one) for pattern in (dropped, noise[category]) for one in {tag, name})
        mine = (group for group, of, pattern in own if of == category and pattern.fullmatch(name))
        groups.append(None if unsaid else next(mine, category))
    faces = frozenset(config.faces)
    texts = [spoken(name, underscores=config.underscores, escape=config.escape, faces=faces) for name in rows["name"]]
    named = rows.with_columns(group=pl.Series(groups, dtype=pl.String), text=pl.Series(texts, dtype=pl.String))
    return named.filter(pl.col("group").is_in(config.said()))


def _with_implied(rows: pl.DataFrame, implied: Implied) -> pl.DataFrame:
    """Add the implied tags that no post has, in the category of what implies them."""
    known = set(rows["name"])
    more = [
        (category, one, one)
        for category, name in rows.select("category", "name").rows()
        for one in implied.get(name, ())
        if one not in known
    ]
    return pl.concat([rows, pl.DataFrame(more, schema=rows.schema, orient="row")])


def _pairs(rows: pl.DataFrame, implied: Implied) -> pl.DataFrame:
    words = rows.select("name", "word").unique().sort("name", "word")
    known = set(words["name"])
    pairs = [(name, one) for name in sorted(known & implied.keys()) for one in sorted(implied[name] & known)]
    named = pl.DataFrame(pairs, schema={"name": pl.String, "implied": pl.String}, orient="row")
    joined = named.join(words, on="name").join(words.rename({"name": "implied", "word": "other"}), on="implied")
    return joined.select("word", implied="other").unique().sort("word", "implied")
