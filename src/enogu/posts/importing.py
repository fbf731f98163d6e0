"""A source into one Parquet file, batch by batch: memory holds one batch, whatever the size of the source.

Every batch becomes a part, sealed when it is safely on disk; an import that was killed goes on behind its last
sealed part, and one that was finished is not done again.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from enogu.core.records.errors import Failed, Refused
from enogu.core.records.files import atomic_path, read_json, write_bytes, write_json
from enogu.core.records.posts import SCHEMA
from enogu.core.records.progress import Progress
from enogu.posts import pool
from enogu.posts.batch import Asked, Batch, Skip
from enogu.posts.blocklist import blocked
from enogu.posts.categories import beside
from enogu.posts.config import PostsConfig
from enogu.posts.normal import first_of_id, normal, rating_table, remarks
from enogu.posts.sidecars import number_of_path
from enogu.posts.sources import Source

PARTS = "arrow"  # written at half the cost of Parquet, and read but once
T = TypeVar("T")
GROUP = 1 << 17  # posts of a row group of Parquet, whatever the parts were
TWICE = "an id that came before"
RENUMBERED = "numbered by its path, since its number came before"
FORM = 2  # raised when parts are written in another way: what an older import left is not gone on from


@dataclass
class Tally:
    """What was met while reading."""

    read: int = 0
    blocked: int = 0
    remarks: Counter[str] = field(default_factory=Counter)  # read, but perhaps not as it was meant
    reasons: Counter[str] = field(default_factory=Counter)  # why things were skipped
    skipped: Path = Path()  # the skips, one JSON object a line

    def add(self, counts: dict[str, Any]) -> None:
        """Add what one part counted."""
        self.read += counts["read"]
        self.blocked += counts["blocked"]
        self.remarks.update(counts["remarks"])
        self.reasons.update(counts["reasons"])


def import_posts(path: Path, source: Source, target: Path, *, config: PostsConfig, progress: Progress) -> Tally:
    """Write the posts of a source to `target` in the normal form; blocked posts are counted and not written."""
    tags = Path(config.tags).expanduser() if config.tags else beside(path, *source.tables)
    parts = Parts(target.parent / "import", _identity([*(source.files or [path]), *([tags] if tags else [])], config))
    tally = Tally(skipped=parts.folder / "skipped.jsonl")
    if target.exists() and (parts.folder / "done.json").exists():
        tally.add(read_json(parts.folder / "done.json"))
        return tally
    for counts in parts.done:
        tally.add(counts)
    if config.file.startswith(pool.ANY):
        parts.pool = pool.members(image_root(path, config))
    asked = Asked(scratch=parts.folder, after=parts.mark, tags=tags, columns=config.columns)
    waiting: list[Batch] = []
    for batch in ahead(source.read(path, asked)):
        waiting.append(batch)
        if batch.mark is not None:
            tally.add(parts.write(waiting, source, config))
            waiting = []
            progress(tally.read, tally.read, "posts")
    if waiting:
        tally.add(parts.write(waiting, source, config))
    if not _join(parts, target, renumber=source.numbers, tally=tally):
        skips = ", ".join(f"{count:,} {reason}" for reason, count in tally.reasons.items()) or "nothing was skipped"
        raise Refused(f"posts.source: {path} holds no post ({tally.read:,} read, {tally.blocked:,} blocked; {skips})")
    parts.finish(tally)
    return tally


def ahead(batches: Iterator[T]) -> Iterator[T]:
    """Read the next batch while the last one is written."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch


def image_root(path: Path, config: PostsConfig) -> Path:
    """Return the folder that the paths of images start from."""
    return Path(config.images).expanduser() if config.images else path if path.is_dir() else path.parent


class Parts:
    """The folder of what is already imported: NUMBER.arrow, NUMBER.skipped, and NUMBER.json that seals both."""

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        """Take up what an import of the same source left, or begin anew."""
        self.folder = folder
        self.pool: pl.DataFrame | None = None  # of tars that hold the pictures, somewhere
        self.done: list[dict[str, Any]] = []
        if not (folder / "source.json").exists() or read_json(folder / "source.json") != identity:
            shutil.rmtree(folder, ignore_errors=True)
            write_json(folder / "source.json", identity)
        while (seal := self._path("json")).exists():
            self.done.append(read_json(seal))

    @property
    def mark(self) -> Any:
        """Return where reading goes on."""
        return self.done[-1]["mark"] if self.done else None

    def files(self, ending: str) -> Iterator[Path]:
        """Yield one file of each part, in order."""
        return (self._path(ending, number) for number in range(len(self.done)))

    def write(self, batches: list[Batch], source: Source, config: PostsConfig) -> dict[str, Any]:
        """Write some batches as one part and return its counts."""
        counts: dict[str, Any] = {"read": 0, "blocked": 0, "mark": batches[-1].mark}
        noted: Counter[str] = Counter()
        skipped = [skip for batch in batches for skip in batch.skipped]
        frames = [pl.DataFrame(schema=SCHEMA)]
        for batch in batches:
            frame = _normal(batch, source, config)
            frame = frame if self.pool is None else pool.placed(frame, self.pool)
            noted += remarks(batch.raw, frame)
            skipped += [Skip(f"post {number}", "negative id") for number in frame["id"].filter(frame["id"] < 0)]
            counts["read"] += len(frame)
            out = blocked(frame)
            counts["blocked"] += int(out.sum())
            frames.append(frame.filter(pl.col("id") >= 0, ~out))
        counts |= {"remarks": noted, "reasons": Counter(skip.reason for skip in skipped)}
        with writing(self._path(PARTS)) as part:
            pl.concat(frames).write_ipc(part, compression="lz4")
        write_bytes(self._path("skipped"), lines(skipped))
        write_json(self._path("json"), counts)
        self.done.append(counts)
        return counts

    def finish(self, tally: Tally) -> None:
        """Keep what was counted, and let go of the parts."""
        counted = {name: getattr(tally, name) for name in ("read", "blocked", "remarks", "reasons")}
        write_json(self.folder / "done.json", counted)
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in ("done.json", "source.json", "skipped.jsonl"):
                path.unlink()

    def _path(self, ending: str, number: int | None = None) -> Path:
        return self.folder / f"{len(self.done) if number is None else number:08}.{ending}"


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path`; a disk that is full is said to be full."""
    try:
        with atomic_path(path) as part:
            yield part
    except (pl.exceptions.PolarsError, OSError) as error:
        raise Failed(f"{path} cannot be written ({error}); make room and run again, it goes on from here") from error


def lines(skipped: list[Skip]) -> bytes:
    """Return skips as JSON lines."""
    rows = ({"at": skip.at, "reason": skip.reason} for skip in skipped)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8", "backslashreplace")


def _normal(batch: Batch, source: Source, config: PostsConfig) -> pl.DataFrame:
    ratings = rating_table(config.ratings or batch.ratings or source.ratings)
    return normal(batch, site=batch.site or source.site, ratings=ratings, file=config.file)


def _identity(files: Iterable[Path], config: PostsConfig) -> dict[str, Any]:
    """Return what must be the same for an import to be gone on with."""
    seen = [[str(file.resolve()), *_state(file)] for file in files if file.exists()]
    read = {name: getattr(config, name) for name in ("format", "file", "images", "ratings")}
    return {"form": FORM, "files": seen, **read, "columns": dict(config.columns)}


def _state(path: Path) -> list[int]:
    """Return what tells a changed file, or a changed folder, from the one that was read before."""
    if not path.is_dir():
        return [path.stat().st_size, path.stat().st_mtime_ns]
    states = [os.lstat(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names]
    return [len(states), sum(one.st_size for one in states), max((one.st_mtime_ns for one in states), default=0)]


def _join(parts: Parts, target: Path, *, renumber: bool, tally: Tally) -> int:
    """Join the parts and return how many posts they hold.

    Of two posts with one id the second is skipped, or gets another where the ids are ours.
    """
    paths = list(parts.files(PARTS))
    frames = [pl.scan_ipc(path) for path in paths] or [pl.LazyFrame(schema=SCHEMA)]
    heights = pl.collect_all([frame.select(pl.len()) for frame in frames])
    ids = pl.concat([frame.select("id") for frame in frames]).collect()["id"]
    again, start = ~first_of_id(ids), 0
    for number, height in enumerate(each.item() for each in heights):
        mask = again[start : start + height]
        if mask.any():
            frames[number] = _without(frames[number], mask, renumber=renumber)
        start += height
    with writing(target) as part:
        pl.concat(frames).sink_parquet(part, row_group_size=GROUP)
    twice = ids.filter(again)
    skipped = [] if renumber else [Skip(f"post {number}", TWICE) for number in twice]
    with atomic_path(tally.skipped) as part, part.open("wb") as out:
        for path in parts.files("skipped"):
            out.write(path.read_bytes())
        out.write(lines(skipped))
    tally.reasons += Counter({TWICE: len(skipped)})
    tally.remarks += Counter({RENUMBERED: len(twice) - len(skipped)})
    return len(ids) - len(skipped)


def _without(frame: pl.LazyFrame, again: pl.Series, *, renumber: bool) -> pl.LazyFrame:
    mask = pl.lit(again)
    if not renumber:
        return frame.filter(~mask)
    number = pl.col("image").map_elements(number_of_path, return_dtype=pl.Int64)
    return frame.with_columns(id=pl.when(mask).then(number).otherwise("id"))
