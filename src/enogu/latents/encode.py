"""Pictures to records: threads decode and resize ahead while the VAE works on the batch before."""

import hashlib
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from enogu.core.records.journal import Entry
from enogu.core.records.picture import PictureError, read_bytes, read_picture, resize_to_cover
from enogu.core.records.shards import ShardWriter
from enogu.latents.buckets import Buckets, kept
from enogu.latents.skipped import Skipped, note
from enogu.latents.wanted import content_key

AHEAD = 3  # batches in work before the one that the VAE wants


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


@dataclass
class Outcome:
    """What a run of an encoder did; `seconds` by kind of work, those of decoding and resizing over all threads."""

    pictures: int = 0
    records: int = 0
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Takes batches of wanted pictures to records, one commit per batch."""

    load: Loader
    moments: Callable[[np.ndarray], np.ndarray]
    writer: ShardWriter
    recipe: str

    def run(self, batches: Iterable[Batch], outcome: Outcome, *, threads: int, ends: Callable[[Batch], None]) -> None:
        """Encode every batch and tell when one `ends`; a broken picture is listed and the rest goes on."""
        with _timed(outcome.seconds, "total"), _pool(threads) as pool:
            for batch, futures in _in_order(pool, self.load, batches):
                with _timed(outcome.seconds, "waiting"):
                    results = [future.result() for future in futures]
                skipped = [result for result in results if isinstance(result, Skipped)]
                skipped += self._encode([result for result in results if isinstance(result, Loaded)], outcome)
                note(self.writer.folder, self.writer.name, skipped)
                ends(batch)

    def _encode(self, loaded: list[Loaded], outcome: Outcome) -> list[Skipped]:
        records: list[tuple[Entry, np.ndarray]] = []
        for shape in sorted({picture.shape for picture in loaded}):  # one, unless metadata were wrong
            group = [picture for picture in loaded if picture.shape == shape]
            with _timed(outcome.seconds, "vae"):
                records += self._group([picture for picture in group if picture.row["key"]], flipped=False)
                records += self._group([picture for picture in group if picture.row["mirror_key"]], flipped=True)
        broken = {entry.post for entry, moments in records if not np.isfinite(moments).all()}
        good = [record for record in records if record[0].post not in broken]
        with _timed(outcome.seconds, "write"):
            self.writer.append([entry for entry, _ in good], [moments for _, moments in good])
        outcome.records += len(good)
        outcome.pictures += len(loaded) - len(broken)
        for picture in loaded:
            outcome.seconds["decode"] += picture.decode_seconds
            outcome.seconds["resize"] += picture.resize_seconds
        endless = "the VAE gives no finite latents for it"
        return [_skip(picture.row, "not finite", endless) for picture in loaded if picture.row["post"] in broken]

    def _group(self, group: list[Loaded], *, flipped: bool) -> list[tuple[Entry, np.ndarray]]:
        if not group:
            return []
        crops = np.stack([picture.crop[:, ::-1] if flipped else picture.crop for picture in group])
        entries = [picture.entry(self.recipe, flipped=flipped) for picture in group]
        return list(zip(entries, self.moments(crops), strict=True))


def _skip(row: dict[str, Any], reason: str, detail: str) -> Skipped:
    return Skipped(post=row["post"], image=row["image"], sha256=row["sha256"], reason=reason, detail=detail)


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Yield threads that drop what they have not begun when the work is broken off."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor, load: Loader, batches: Iterable[Batch]
) -> Iterator[tuple[Batch, list[Future[Loaded | Skipped]]]]:
    """Submit a few batches ahead and give them back in order."""
    queue: deque[tuple[Batch, list[Future[Loaded | Skipped]]]] = deque()
    for batch in batches:
        queue.append((batch, [pool.submit(load, row) for row in batch.rows]))
        if len(queue) > AHEAD:
            yield queue.popleft()
    while queue:
        yield queue.popleft()


@contextmanager
def _timed(seconds: dict[str, float], what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[what] += time.perf_counter() - started
