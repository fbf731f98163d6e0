"""Pictures to records: they are decoded and resized ahead while the VAE works on the batch before."""

import hashlib
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from enogu.core.records.journal import Entry
from enogu.core.records.picture import PictureError, read_bytes, read_picture, resize_to_cover
from enogu.core.records.shards import ShardWriter
from enogu.core.records.work import Executor
from enogu.latents.buckets import Buckets, kept
from enogu.latents.moments import Moments
from enogu.latents.skipped import Skipped, note
from enogu.latents.wanted import content_key


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of `wanted` that go through the VAE together, and the unit of work that they belong to."""

    rows: list[dict[str, Any]]
    unit: int
    last: bool  # of its unit


@dataclass(frozen=True, kw_only=True)
class Loader:
    """Reads a wanted picture and cuts it to its bucket."""

    root: Path
    buckets: Buckets
    min_kept: float
    max_pixels: int
    margin: int = 0
    linear: bool = False

    def __call__(self, row: dict[str, Any]) -> "Loaded | Skipped":
        """Return the crop, or why there is none."""
        try:
            return self._load(row)
        except PictureError as error:
            return _skip(row, error.reason, error.detail)

    def _load(self, row: dict[str, Any]) -> "Loaded":
        started = time.perf_counter()
        data = read_bytes(self.root / row["image"])
        picture = read_picture(data, max_pixels=self.max_pixels)
        if hashlib.sha256(data).hexdigest() != row["sha256"]:
            raise PictureError("changed", "the file is not the one that the manifest names")
        height, width = picture.shape[:2]
        decoded = time.perf_counter()
        shape = self.buckets.choose(width, height)
        if not all(shape):
            raise PictureError("too small", f"{width}x{height} would have to be enlarged")
        share = kept(width, height, shape)
        if share < self.min_kept:
            raise PictureError("aspect", f"{width}x{height}: its bucket would keep {share:.0%} of it")
        crop, left, top = resize_to_cover(picture, *(side + self.margin for side in shape), linear=self.linear)
        return Loaded(
            row=row,
            crop=crop,
            shape=shape,
            original=(width, height),
            corner=(left + self.margin // 2, top + self.margin // 2),
            decode_seconds=decoded - started,
            resize_seconds=time.perf_counter() - decoded,
        )


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A picture cut to its bucket."""

    row: dict[str, Any]
    crop: np.ndarray
    shape: tuple[int, int]  # the bucket: width and height; the crop is larger by the margin
    original: tuple[int, int]
    corner: tuple[int, int]  # where the middle of the crop lies in the resized picture
    decode_seconds: float
    resize_seconds: float

    def entry(self, recipe: str, *, flipped: bool) -> Entry:
        """Return what the index says of it."""
        return Entry(
            post=self.row["post"],
            width=self.shape[0],
            height=self.shape[1],
            margin=self.crop.shape[1] - self.shape[0],
            flipped=flipped,
            key=content_key(self.row["sha256"], recipe, self.shape, flipped=flipped),
            original_width=self.original[0],
            original_height=self.original[1],
            crop_left=self.corner[0],
            crop_top=self.corner[1],
        )


@dataclass(kw_only=True)
class Outcome:
    """What came of batches; `seconds` by kind of work, summed over threads and machines."""

    pictures: int = 0
    records: int = 0
    fallbacks: int = 0  # pictures that needed fp32 after all
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, other: "Outcome") -> None:
        """Count another in."""
        self.pictures += other.pictures
        self.records += other.records
        self.fallbacks += other.fallbacks
        for what, spent in other.seconds.items():
            self.seconds[what] += spent


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """The records of a batch, and the pictures that have none."""

    records: list[tuple[Entry, np.ndarray]]
    skipped: list[Skipped]
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """The way from wanted pictures to records, as work on batches."""

    load: Loader
    moments: Moments
    recipe: str

    @property
    def reads(self) -> tuple[Path, ...]:
        """The pictures, and the checkpoint with the VAE."""
        return (self.load.root, self.moments.model)

    def prepare(self, row: dict[str, Any]) -> Loaded | Skipped:
        """Decode and resize one picture."""
        return self.load(row)

    def finish(self, batch: Sequence[Loaded | Skipped]) -> Encoded:
        """Encode a batch."""
        loaded = [one for one in batch if isinstance(one, Loaded)]
        outcome = Outcome()
        records: list[tuple[Entry, np.ndarray]] = []
        for shape in sorted({picture.shape for picture in loaded}):  # one, unless metadata were wrong
            group = [picture for picture in loaded if picture.shape == shape]
            with _timed(outcome.seconds, "vae"):
                records += self._group([one for one in group if one.row["key"]], outcome, flipped=False)
                records += self._group([one for one in group if one.row["mirror_key"]], outcome, flipped=True)
        broken = {entry.post for entry, moments in records if not np.isfinite(moments).all()}
        good = [record for record in records if record[0].post not in broken]
        for picture in loaded:
            outcome.seconds["decode"] += picture.decode_seconds
            outcome.seconds["resize"] += picture.resize_seconds
        outcome.records, outcome.pictures = len(good), len(loaded) - len(broken)
        skipped = [one for one in batch if isinstance(one, Skipped)]
        endless = "the VAE gives no finite latents for it"
        skipped += [_skip(one.row, "not finite", endless) for one in loaded if one.row["post"] in broken]
        return Encoded(records=good, skipped=skipped, outcome=outcome)

    def _group(self, group: list[Loaded], outcome: Outcome, *, flipped: bool) -> list[tuple[Entry, np.ndarray]]:
        if not group:
            return []
        moments, fallbacks = self.moments(np.stack([one.crop[:, ::-1] if flipped else one.crop for one in group]))
        outcome.fallbacks += fallbacks
        return list(zip([one.entry(self.recipe, flipped=flipped) for one in group], moments, strict=True))


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Takes batches of wanted pictures to records on disk, one commit per batch."""

    work: Encoding
    executor: Executor
    writer: ShardWriter

    def run(self, batches: Iterable[Batch], outcome: Outcome, *, ends: Callable[[Batch], None]) -> None:
        """Encode every batch and tell when one `ends`; a broken picture is listed and the rest goes on."""
        begun: deque[Batch] = deque()
        with _timed(outcome.seconds, "total"):
            for encoded in self.executor.map(self.work, _rows(batches, begun)):
                with _timed(outcome.seconds, "write"):
                    entries, moments = [entry for entry, _ in encoded.records], [one for _, one in encoded.records]
                    self.writer.append(entries, moments)
                    note(self.writer.folder, self.writer.name, encoded.skipped)
                outcome.add(encoded.outcome)
                ends(begun.popleft())


def _rows(batches: Iterable[Batch], begun: deque[Batch]) -> Iterator[list[dict[str, Any]]]:
    for batch in batches:
        begun.append(batch)
        yield batch.rows


def _skip(row: dict[str, Any], reason: str, detail: str) -> Skipped:
    return Skipped(post=row["post"], image=row["image"], sha256=row["sha256"], reason=reason, detail=detail)


@contextmanager
def _timed(seconds: dict[str, float], what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[what] += time.perf_counter() - started
