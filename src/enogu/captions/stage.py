"""Compose the captions of a manifest, keep the rules for reading them, count their tokens."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from enogu.captions.compose import Composer, batches, composer, needed
from enogu.captions.config import CaptionsConfig
from enogu.captions.nl.stage import TEXTS
from enogu.captions.ragged import RaggedWriter
from enogu.captions.reading import reader
from enogu.captions.record import SCHEMA, record, spelt, with_sentences
from enogu.captions.rules import to_plain
from enogu.captions.sets import rules_of
from enogu.captions.texts import sources, store
from enogu.captions.tokens import report
from enogu.core.records.files import atomic_path, write_json
from enogu.core.records.job import Job

NUMBERS = ("id", "source", "rating", "score", "fav_count", "aesthetic", "created_at")  # what words are made from
ROW_GROUP = 20_000  # rows of captions.parquet


def run(config: CaptionsConfig, job: Job) -> dict[str, Any]:
    """Write captions.parquet, captions.json, packed/ and tokens.json; return counts and token lengths."""
    folder, packed = job.one("posts"), job.out / "packed"
    posts, everyone = pl.scan_parquet(folder / "manifest.parquet"), pl.scan_parquet(folder / "posts.parquet")
    texts = str(job.one("nl") / TEXTS) if config.nl else config.texts
    told = {
        group: store(found, packed / group)
        for group, found in sources(posts, texts, config.text_key, columns=config.text_columns).items()
        if group in config.said()
    }
    made = composer(posts, everyone.select(*NUMBERS), config, texts={group: packed / group for group in told})
    with atomic_path(job.out / "captions.parquet") as part:
        speaking = _write(made, posts, config, job=job, path=part)
    with atomic_path(packed / "vocabulary.parquet") as part:
        made.lexicon.vocabulary.write_parquet(part)
    rules = {name: rules_of(config, one, made.lexicon.vocabulary["text"]) for name, one in config.sets.items()}
    sets = {name: to_plain(rule) for name, rule in rules.items()}
    write_json(job.out / "captions.json", {"groups": speaking, "texts": told, "sets": sets})
    tokens = report(reader(job.out, config.seed), config.seed, job.progress)
    write_json(job.out / "tokens.json", tokens)
    kinds = {"texts": {group: one["kinds"] for group, one in told.items()}} if told else {}
    return {
        "posts": _number(posts),
        "posts_that_say": speaking,
        "sets": {name: _figures(one) for name, one in tokens.items()},
        **kinds,
    }


def _write(made: Composer, posts: pl.LazyFrame, config: CaptionsConfig, *, job: Job, path: Path) -> dict[str, int]:
    """Stream the record to `path`, and on the way pack the same words; return how many posts say each group."""
    writer, total, done = RaggedWriter(job.out / "packed" / "words", np.uint32), _number(posts), 0
    speaking = np.zeros(len(made.groups), dtype=np.int64)

    def rows(*_: object) -> Iterator[pl.DataFrame]:
        nonlocal done, speaking
        for batch in batches(needed(posts)):
            words = made.words(batch)
            sizes = np.bincount(words["row"].to_numpy(), minlength=len(batch))
            writer.append(batch["id"].to_numpy(), sizes, words["word"].to_numpy())
            said = with_sentences(spelt(words, made.lexicon.vocabulary), batch, made.texts)
            speaking += made.speaking(words)
            done += len(batch)
            job.progress(done, total, "captions")
            yield record(batch, said, config)

    register_io_source(rows, schema=pl.Schema(SCHEMA)).sink_parquet(path, row_group_size=ROW_GROUP)
    writer.close()
    return dict(zip(made.groups, speaking.tolist(), strict=True))


def _number(posts: pl.LazyFrame) -> int:
    return int(posts.select(pl.len()).collect().item())


def _figures(tokens: dict[str, Any]) -> dict[str, Any]:
    over = {str(window["tokens"]): window["share_over"] for window in tokens["windows"]}
    return {"tokens_mean": tokens["mean"], "tokens_p95": tokens["p95"], "share_over": over}
