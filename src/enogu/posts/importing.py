"""A source into one Parquet file, batch by batch: memory holds one batch, whatever the size of the source."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from enogu.core.records.files import atomic_path
from enogu.core.records.posts import SCHEMA
from enogu.core.records.progress import Progress
from enogu.posts.blocklist import blocked
from enogu.posts.config import PostsConfig
from enogu.posts.normal import Skip, normal, rating_table
from enogu.posts.sources import Source


@dataclass
class Tally:
    """What was met while reading."""

    read: int = 0
    blocked: int = 0
    skipped: list[Skip] = field(default_factory=list)


def import_posts(path: Path, source: Source, target: Path, *, config: PostsConfig, progress: Progress) -> Tally:
    """Write the posts of a source to `target` in the normal form; blocked posts are counted and not written."""
    ratings = rating_table(config.ratings or source.ratings)
    tally = Tally()
    parts = target.with_suffix(".parts")
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir(parents=True)
    pl.DataFrame(schema=SCHEMA).write_parquet(parts / "00000000.parquet")
    for number, batch in enumerate(source.read(path), start=1):
        frame = normal(batch.raw, site=source.site, ratings=ratings, file=config.file)
        kept = frame.filter(~blocked().fill_null(False))
        kept.write_parquet(parts / f"{number:08}.parquet")
        tally.read += len(frame)
        tally.blocked += len(frame) - len(kept)
        tally.skipped += batch.skipped
        progress(tally.read, tally.read, "posts")
    with atomic_path(target) as part:
        pl.scan_parquet(parts / "*.parquet").sink_parquet(part)
    shutil.rmtree(parts)
    return tally
