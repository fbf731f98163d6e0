"""One process at work on a latents folder, alone or beside others: each takes units of work until none is free."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import polars as pl

from enogu.core.records.cluster import executor
from enogu.core.records.job import Job
from enogu.core.records.posts import Manifest
from enogu.core.records.progress import Progress
from enogu.core.records.shards import ShardWriter
from enogu.latents.adoption import adopt
from enogu.latents.claims import Claims
from enogu.latents.config import LatentsConfig
from enogu.latents.encode import Batch, Encoder, Encoding, Loader, Outcome
from enogu.latents.moments import Moments
from enogu.latents.skipped import mend, noted
from enogu.latents.wanted import pending, unfinished, wanted

POLL_SECONDS = 0.2  # between two looks at units that others hold


@dataclass(frozen=True, kw_only=True)
class Worker:
    """What is wanted of a manifest's pictures, and the means to make it."""

    config: LatentsConfig
    job: Job
    manifest: Manifest
    moments: Moments
    recipe: str  # the name of all that shapes a record besides its picture and bucket

    def wanted(self, stored: pl.DataFrame) -> pl.DataFrame:
        """Return the wanted pictures, by the sizes that records tell where they do."""
        return self._wanted(self.manifest.frame, stored)

    def _wanted(self, posts: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
        config = self.config
        return wanted(posts, stored, buckets=config.table, recipe=self.recipe, flip=config.flip)

    def _todo(self, division: pl.DataFrame, stored: pl.DataFrame, skipped: pl.Series) -> pl.DataFrame:
        """Return what is left to do; a picture whose metadata tell a wrong size has its record under another key."""
        met = pl.col("post").is_in(stored["post"].implode())
        odd = division.filter(met & ~pl.col("key").is_in(stored["key"].implode()))["post"]
        true = self._wanted(self.manifest.frame.filter(pl.col("id").is_in(odd.implode())), stored)
        told = division.update(true.select("post", "key", "mirror_key"), on="post", maintain_order="left")
        return pending(told, stored=stored["key"], skipped=skipped)

    def work(self, writer: ShardWriter, *, to_the_end: bool) -> Outcome:
        """Encode units until none is free; to the end: until those that others hold are finished or left to us."""
        mend(writer.folder, writer.name)
        adopt(writer, self.wanted(writer.stored()))
        before = writer.finished()
        pictures = self.wanted(before)
        division = unfinished(pictures, finished=before["key"], batch=self.config.batch)
        skipped = pl.Series([one.sha256 for one in noted(writer.folder)], dtype=pl.String)
        todo = self._todo(division, writer.stored(), skipped)
        encoding = Encoding(load=self._loader(), moments=self.moments, recipe=self.recipe)
        encoder = Encoder(work=encoding, executor=executor(self.job), writer=writer)
        outcome = Outcome()
        with Claims(_path(writer.folder, division)) as claims:
            tell = _Tally(division, claims, total=len(pictures), progress=self.job.progress)
            for unit in np.setdiff1d(division["unit"], todo["unit"]).tolist():  # killed before it could say so
                if claims.take(unit):
                    claims.finish(unit)
            while len(todo):
                encoder.run(_claimed(todo, claims), outcome, ends=tell)
                todo = todo.filter(~pl.Series(claims.finished(tell.units))[todo["unit"]])
                if not to_the_end:
                    break
                time.sleep(POLL_SECONDS if len(todo) else 0)
        return outcome

    def _loader(self) -> Loader:
        names = ("min_kept", "max_pixels", "margin", "linear")
        settings = {name: getattr(self.config, name) for name in names}
        return Loader(root=self.manifest.root.absolute(), buckets=self.config.table, **settings)


class _Tally:
    """Tells how far everyone together is, and that a unit is finished."""

    def __init__(self, division: pl.DataFrame, claims: Claims, *, total: int, progress: Progress) -> None:
        self._sizes = np.bincount(division["unit"])
        self.units = len(self._sizes)
        self._before, self._total = total - len(division), total
        self._claims, self._progress = claims, progress
        self._held = 0  # pictures of a unit that is not finished

    def __call__(self, batch: Batch) -> None:
        self._held += len(batch.rows)
        if batch.last:
            self._claims.finish(batch.unit)
            self._held = 0
        done = self._before + int(self._sizes[self._claims.finished(self.units)].sum()) + self._held
        self._progress(min(done, self._total), self._total, "pictures encoded")


def _claimed(todo: pl.DataFrame, claims: Claims) -> Iterator[Batch]:
    """Yield the batches of every unit that can be taken."""
    units = todo["unit"].to_numpy()
    starts = [*np.flatnonzero(np.diff(units, prepend=-1)).tolist(), len(units)]
    for start, end in pairwise(starts):
        unit = int(units[start])
        if claims.take(unit):
            rows = todo[start:end].rows(named=True)
            batches = [list(part) for _, part in groupby(rows, key=lambda row: row["batch"])]
            yield from (
                Batch(rows=batch, unit=unit, last=number == len(batches))
                for number, batch in enumerate(batches, start=1)
            )


def _path(folder: Path, division: pl.DataFrame) -> Path:
    """Return the file of claims on this division of the work."""
    digest = hashlib.blake2b(digest_size=4)
    for part in division.iter_slices(1 << 16):
        digest.update("".join(part["key"]).encode())
    return folder / f"claims-{digest.hexdigest()}"
