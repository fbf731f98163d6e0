"""The stages of this room: settings and a job in, files and a summary out."""

from __future__ import annotations

from collections import Counter
from typing import Any

from enogu.core.records.job import Job
from enogu.mini.booru import write_booru
from enogu.mini.config import BooruConfig, TaggerConfig, TextConfig, VaeConfig
from enogu.mini.tagger_making import make_tagger
from enogu.mini.text_reading import Reader, make_reader, spoken, vocabulary
from enogu.mini.traits import novel_tags
from enogu.mini.vae_making import make_vae


def run_booru(config: BooruConfig, job: Job) -> dict[str, Any]:
    """Write a drawn booru into the job's folder."""
    stored = write_booru(config, job.out, progress=job.progress, threads=job.threads)
    counts = Counter(tag for one in stored for group in one.post.tags.values() for tag in group)
    return {
        "posts": len(stored),
        "bytes": sum(one.file_size for one in stored),
        "novel": {tag: counts[tag] for tag in sorted(novel_tags())},
    }


def run_vae(config: VaeConfig, job: Job) -> dict[str, Any]:
    """Train a mini autoencoder into a checkpoint in the job's folder."""
    return make_vae(config, job)


def run_text(config: TextConfig, job: Job, *, reader: Reader) -> dict[str, Any]:
    """Teach a checkpoint's text encoder to read the tags of a captions record, or of the drawn booru."""
    tags = spoken(job.one("captions"), reader, common=config.common) if config.captions else vocabulary()
    return make_reader(config, job, tags)


def run_tagger(config: TaggerConfig, job: Job) -> dict[str, Any]:
    """Train a tagger for drawn pictures into the job's folder."""
    return make_tagger(config, job)
