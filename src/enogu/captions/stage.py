"""Compose the captions of a manifest, keep the rules for reading them, count their tokens."""

from dataclasses import asdict
from typing import Any

import polars as pl

from enogu.captions.caption import Rules
from enogu.captions.compose import compose
from enogu.captions.config import MARK, CaptionsConfig, CaptionSet
from enogu.captions.tokens import report
from enogu.captions.words import check_span, table
from enogu.core.networks.tokenizer import tokenize
from enogu.core.records.files import atomic_path, write_json
from enogu.core.records.job import Job
from enogu.core.records.posts import read_manifest

NUMBERS = ("id", "rating", "score", "fav_count", "aesthetic", "created_at")  # what words are made from


def run(config: CaptionsConfig, job: Job) -> dict[str, Any]:
    """Write captions.parquet, captions.json and tokens.json; return counts and token lengths."""
    folder = job.one("posts")
    posts = read_manifest(folder).frame
    if config.year:
        check_span(posts, table("year", config.year), config.year)
    everyone = pl.read_parquet(folder / "posts.parquet", columns=list(NUMBERS))
    captions = compose(posts, everyone, config)
    job.progress(len(posts), len(posts), "captions")
    rules = {name: rules_of(config, one) for name, one in config.sets.items()}
    tokens = report(captions, rules, tokenize)
    with atomic_path(job.out / "captions.parquet") as part:
        captions.write_parquet(part)
    write_json(job.out / "tokens.json", tokens)
    write_json(job.out / "captions.json", {"sets": {name: _plain(rule) for name, rule in rules.items()}})
    return {"posts": len(posts), "sets": {name: _figures(one) for name, one in tokens.items()}}


def rules_of(config: CaptionsConfig, one: CaptionSet) -> Rules:
    """Return how a caption set is read."""
    return Rules(
        shuffled=shuffled(one.order or config.order, config.shuffle_after),
        limit=one.limit,
        priority=one.priority,
        drop_caption=config.drop_caption,
        drop_tags=config.drop_tags,
        drop_varied=config.drop_varied,
        never_drop=frozenset(config.never_drop),
    )


def shuffled(order: tuple[str, ...], after: str) -> frozenset[str]:
    """Return the groups that change places: from `after` to the next mark, or to the end."""
    if not after:
        return frozenset()
    rest = order[order.index(after) + 1 :]
    return frozenset(rest[: rest.index(MARK)] if MARK in rest else rest)


def _plain(rules: Rules) -> dict[str, Any]:
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in asdict(rules).items()}


def _figures(tokens: dict[str, Any]) -> dict[str, Any]:
    over = {str(window["tokens"]): window["share_over"] for window in tokens["windows"]}
    return {"tokens_mean": tokens["mean"], "tokens_p95": tokens["p95"], "share_over": over}
