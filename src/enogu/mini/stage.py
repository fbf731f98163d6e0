"""The stages of this room: settings and a job in, files and a summary out."""

from __future__ import annotations

from collections import Counter
from typing import Any

from enogu.core.records.errors import Refused
from enogu.core.records.job import Job
from enogu.mini.booru import write_booru
from enogu.mini.config import BooruConfig, TaggerConfig
from enogu.mini.traits import novel_tags


def run_booru(config: BooruConfig, job: Job) -> dict[str, Any]:
    """Write a drawn booru into the job's folder."""
    stored = write_booru(config, job.out, progress=job.progress, threads=job.threads)
    counts = Counter(tag for one in stored for group in one.post.tags.values() for tag in group)
    return {
        "posts": len(stored),
        "bytes": sum(one.file_size for one in stored),
        "novel": {tag: counts[tag] for tag in sorted(novel_tags())},
    }


def run_tagger(config: TaggerConfig, job: Job) -> dict[str, Any]:
    """Train a tagger for drawn pictures into the job's folder."""
    try:
        from enogu.mini.tagger_making import make_tagger  # needs onnx, which nothing else does
    except ModuleNotFoundError as missing:
        if missing.name != "onnx":
            raise
        raise Refused("a [tagger] stage writes ONNX and needs the package onnx: pip install 'enogu[dev]'") from missing
    return make_tagger(config, job)
