"""Sentences beside tags: what calls itself a caption is looked at before it is said."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from enogu.captions.ragged import RaggedWriter
from enogu.core.records.errors import Refused, unknown

SENTENCE, TAGS, BROKEN, EMPTY, REPAIRED = "sentence", "tags", "broken JSON", "empty", "taken out of JSON"
NAMED = 1000  # texts that are listed with their reason; all are counted
BATCH = 20_000
LITTLE_WORDS = (  # prepositions are not among them: tags have those, as looking_at_viewer
    "a|an|the|is|are|was|were|be|has|have|and|her|his|their|its|she|he|they|it|this|that|there|which|who|while"
)
ANSWERS = ("caption", "description", "text", "long", "short", "regular_summary", "summary")  # keys that captioners use
READERS: dict[str, Callable[[Path], pl.LazyFrame]] = {
    ".parquet": pl.scan_parquet,
    ".csv": pl.scan_csv,
    ".jsonl": pl.scan_ndjson,
    ".ndjson": pl.scan_ndjson,
}


def kind(text: pl.Expr) -> pl.Expr:
    """Return what a text is: sentences, tags, JSON or nothing.

    Tags are short pieces between commas; sentences have articles and pronouns, and full stops.
    """
    trimmed = text.str.strip_chars()
    words = trimmed.str.count_matches(r"[^\s,]+").cast(pl.Float64)
    pieces = trimmed.str.count_matches(r"[,\n]").cast(pl.Float64) + 1
    little = trimmed.str.count_matches(rf"(?i)\b(?:{LITTLE_WORDS})\b")
    underscored = trimmed.str.count_matches(r"\w_\w").cast(pl.Float64)
    bare = (little / words < 0.08) & ~trimmed.str.contains(r"[.!?]\s+[A-Z]")
    listed = bare & ((pieces >= 3) & (words / pieces <= 3.5) | (pieces == 1) & (words > 3) & (underscored > 0))
    joined = (underscored / words > 0.3) & (words > 1)
    spaced = (pieces == 1) & (words >= 8) & (little == 0)  # a list between spaces
    return (
        pl.when(text.is_null() | (trimmed == ""))
        .then(pl.lit(EMPTY))
        .when(trimmed.str.contains(r"^(?:```\w*\s*)?[\{\[]\s*(?:[\"'\{\[]|$)"))
        .then(pl.lit(BROKEN))  # unless it can be read
        .when(listed | joined | spaced)
        .then(pl.lit(TAGS))
        .otherwise(pl.lit(SENTENCE))
    )


def unwrapped(text: str) -> str | None:
    """Return the caption inside a JSON answer, if it can be read and has one."""
    bare = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    try:
        value = json.loads(bare, strict=False)
    except ValueError:
        return None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        strings = {str(key).lower(): item for key, item in value.items() if isinstance(item, str)}
        value = next((strings[key] for key in ANSWERS if key in strings), None) or (
            next(iter(strings.values())) if len(strings) == 1 else None
        )
    return value.strip() or None if isinstance(value, str) else None


def usable(texts: pl.DataFrame) -> pl.DataFrame:
    """Add to texts (post, text) the `kind`, with JSON answers unwrapped and white space made plain."""
    found = texts.with_columns(kind=kind(pl.col("text")))
    answers = found.filter(kind=BROKEN)
    if len(answers):
        inner = answers.with_columns(text=pl.Series([unwrapped(text) for text in answers["text"]], dtype=pl.String))
        again = pl.when(kind(pl.col("text")) == SENTENCE).then(pl.lit(REPAIRED)).otherwise(kind(pl.col("text")))
        mended = inner.drop_nulls("text").with_columns(kind=again)
        broken = answers.join(mended, on="post", how="anti")
        found = pl.concat([found.filter(pl.col("kind") != BROKEN), mended, broken])
    return found.with_columns(pl.col("text").str.replace_all(r"\s+", " ").str.strip_chars())


def store(batches: Iterator[pl.DataFrame], folder: Path) -> dict[str, Any]:
    """Keep what can be said of batches of (post, text); return counts by kind and the first that cannot be."""
    writer, counts, refused = RaggedWriter(folder, np.uint8), Counter[str](), list[dict[str, Any]]()
    for batch in batches:
        found = usable(batch)
        counts.update(dict(found["kind"].value_counts().rows()))
        good = pl.col("kind").is_in([SENTENCE, REPAIRED])
        if len(refused) < NAMED:
            bad = found.filter(~good & (pl.col("kind") != EMPTY)).sort("post").head(NAMED - len(refused))
            refused += bad.select("post", "kind", text=pl.col("text").str.head(80)).to_dicts()
        said = found.filter(good).sort("post")
        raw = [text.encode() for text in said["text"]]
        sizes = np.array([len(text) for text in raw], dtype=np.uint32)
        writer.append(said["post"].to_numpy(), sizes, np.frombuffer(b"".join(raw), dtype=np.uint8))
    writer.close()
    return {"kinds": dict(sorted(counts.items())), "refused": refused}


def of_posts(posts: pl.LazyFrame, column: str) -> Iterator[pl.DataFrame]:
    """Yield batches of (post, text) from a column of the posts; none where they have no such column."""
    if column in posts.collect_schema():
        yield from _batches(posts.select(post="id", text=pl.col(column).cast(pl.String)).drop_nulls())


def of_file(path: Path, key: str, column: str, *, posts: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """Yield batches of (post, text) from a file of sentences, for posts that are there."""
    known = READERS.get(path.suffix)
    if known is None:
        raise Refused(f"texts = {str(path)!r} in [captions]: expected a file that ends in {', '.join(READERS)}")
    names = {"id": pl.Int64, "md5": pl.String, "image": pl.String}
    if key not in names:
        raise unknown("text_key", key, names)
    frame = known(path)
    for name in (key, column):
        if name not in (columns := frame.collect_schema()):
            raise unknown(f"column in {path}:", name, columns)
    wanted = posts.select(pl.col(key), post="id").unique(key).collect()
    keyed = frame.select(pl.col(key).cast(names[key], strict=False), text=pl.col(column).cast(pl.String)).drop_nulls()
    for batch in _batches(keyed):
        yield batch.join(wanted, on=key).select("post", "text")


def sources(
    posts: pl.LazyFrame, file: str, key: str, *, columns: Mapping[str, str]
) -> dict[str, Iterator[pl.DataFrame]]:
    """Return the batches of each group of sentences."""
    path = Path(file)
    return {
        group: of_file(path, key, column, posts=posts) if file else of_posts(posts, column)
        for group, column in columns.items()
    }


def _batches(texts: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    for batch in texts.collect_batches(chunk_size=BATCH, maintain_order=True):
        yield from batch.iter_slices(BATCH)
