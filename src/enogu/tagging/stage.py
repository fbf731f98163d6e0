"""The stages of this room: pictures to sightings, sightings to tagged posts."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from enogu.core.networks.tagger import Tagger
from enogu.core.records.cluster import executor
from enogu.core.records.errors import Refused
from enogu.core.records.files import write_json
from enogu.core.records.hashes import sha256_file
from enogu.core.records.job import Job
from enogu.core.records.posts import read_manifest
from enogu.core.records.progress import Progress
from enogu.tagging.config import SightingsConfig, TaggedConfig
from enogu.tagging.looking import Eyes, Seen
from enogu.tagging.posts import write_tagged
from enogu.tagging.scorer import Scorer
from enogu.tagging.sightings import Sightings, check_few, columns, part_path, write_part

PART = 1024  # posts of a part: what a kill can cost


def run_sightings(config: SightingsConfig, job: Job) -> dict[str, Any]:
    """Look at every picture of a manifest that no earlier run of these settings has looked at."""
    manifest = read_manifest(job.one("posts"))
    eyes = Eyes(
        manifest.root.absolute(),
        {_short(name): Tagger.load(path, threads=job.threads) for name, path in job.all("taggers").items()},
        {_short(name): Scorer.load(path, threads=job.threads) for name, path in job.all("scorers").items()},
    )
    _check_names(config, eyes)
    posts, images = manifest.frame["id"].to_list(), manifest.frame["image"].to_list()
    left = [start for start in range(0, len(posts), PART) if not part_path(job.out, start).exists()]
    batches = {start: list(_cut(images[start : start + PART], config.batch)) for start in left}
    before = len(posts) - sum(map(len, chain.from_iterable(batches.values())))
    seen = executor(job).map(eyes, chain.from_iterable(batches.values()))
    told = _told(seen, job.progress, done=before, total=len(posts))
    for start, part in batches.items():
        table = _table(eyes, posts[start : start + PART], list(islice(told, len(part))), floor=config.floor)
        write_part(job.out, start, table)
    skipped = _skipped(job.out)
    write_json(job.out / "skipped.json", skipped)
    write_json(job.out / "sightings.json", _described(eyes, job))
    return {"posts": len(posts), "looked_at": len(posts) - len(skipped), "skipped": dict(Counter(skipped.values()))}


def run_tagged(config: TaggedConfig, job: Job) -> dict[str, Any]:
    """Write a posts folder whose tags are what the models saw."""
    sightings = Sightings.open(job.one("sightings"))
    asked = sightings.only(config.taggers) if config.taggers else sightings
    return write_tagged(config, asked, job.one("posts"), out=job.out)


def _cut(images: list[str], batch: int) -> Iterator[list[str]]:
    for start in range(0, len(images), batch):
        yield images[start : start + batch]


def _told(seen: Iterable[Seen], progress: Progress, *, done: int, total: int) -> Iterator[Seen]:
    for one in seen:
        done += len(one.reasons)
        progress(done, total, "pictures looked at")
        yield one


def _table(eyes: Eyes, posts: list[int], part: list[Seen], *, floor: float) -> dict[str, Any]:
    """Return the columns of one part."""
    reasons = [reason for seen in part for reason in seen.reasons]
    found = {name: np.concatenate([seen.outputs[name] for seen in part]) for name in eyes.visions()}
    table: dict[str, Any] = {}
    for name in eyes.taggers:
        table |= columns(name, found[name], floor)
    for name, scorer in eyes.scorers.items():
        table[f"{name}.score"] = scorer.scores(found[name])
        if scorer.head:
            table[f"{name}.embedding"] = pl.Series(found[name].astype(np.float16))
    seen = pl.DataFrame({"row": np.flatnonzero([not reason for reason in reasons]), **table})
    every = pl.DataFrame({"post": posts, "reason": reasons}).with_row_index("row").cast({"row": pl.Int64})
    return every.join(seen, on="row", how="left", maintain_order="left").drop("row").to_dict(as_series=True)


def _short(name: str) -> str:
    return Path(name).name


def _check_names(config: SightingsConfig, eyes: Eyes) -> None:
    if len(eyes.visions()) != len(config.taggers) + len(config.scorers):
        given = ", ".join([*config.taggers, *config.scorers])
        raise Refused(f"two models of {given} have the same last name: rename a folder")
    for tagger in eyes.taggers.values():
        check_few(len(tagger.names))


def _skipped(folder: Path) -> dict[str, str]:
    parts = pl.scan_parquet(folder / "part-*.parquet").select("post", "reason").filter(pl.col("reason") != "")
    return {str(post): reason for post, reason in parts.collect().iter_rows()}


def _described(eyes: Eyes, job: Job) -> dict[str, Any]:
    hashes = {_short(name): _hash(path) for name, path in {**job.all("taggers"), **job.all("scorers")}.items()}
    taggers = [
        {
            "name": name,
            "tags": tagger.names,
            "kinds": tagger.kinds,
            "thresholds": tagger.thresholds.tolist(),
            "sha256": hashes[name],
        }
        for name, tagger in eyes.taggers.items()
    ]
    return {"taggers": taggers, "scorers": list(eyes.scorers), "hashes": hashes}


def _hash(path: Path) -> str:
    models = [one for one in (path, path / "model.onnx", path / "encoder.onnx") if one.is_file()]
    return sha256_file(models[0])
