"""Latents on disk: fixed-size records in large append-only files, and an index.

    shard-0512x0768-0-00003.bin  records of one bucket (width x height in pixels), one after another, nothing else;
                                 "0" is the writer: several processes write at once, each to files of its own
    index.parquet                one row per (post, flipped), sorted by them: SCHEMA of journal.py; written last
    unlisted.parquet             the same for records in these shards that the index leaves out, if there are any: of
                                 posts that are no longer wanted, or that only a folder with the same shards wants
    journal-0.jsonl              only while a run is unfinished: what a writer has committed

A record is little-endian float16 in C order, (2C, height / 8, width / 8): the mean of the VAE's posterior and
then its log variance, not scaled. It lies at `offset` of `shard`, a multiple of `nbytes`; `checksum` is xxh3_64
of its bytes. `key` names the content: picture, VAE, resize recipe, bucket, flip; rows of equal key share a record.
With a `margin`, the record is of a picture larger by so many pixels along each side, to be cropped when read.

A commit appends its records and then one line of the journal. After kill -9 a line without its end is dropped, and
so are records that reach behind the end of a shard or, within the last TAIL_BYTES of it (what a power cut may have
lost), fail their checksum; whatever lies behind the last whole record is cut off. Then the writer goes on.
"""

import mmap
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from xxhash import xxh3_64_intdigest

from enogu.core.records.errors import Failed, Refused
from enogu.core.records.files import atomic_path, sweep_beside
from enogu.core.records.journal import (
    SCHEMA,
    TAIL_BYTES,
    Entry,
    damaged,
    journal,
    journalled,
    lines,
    mend,
    present,
)
from enogu.core.records.progress import Progress, silent

FACTOR = 8  # pixels per latent, along each side
SHARD_BYTES = 1 << 30
SAMPLE = np.dtype("<f2")
INDEX = "index.parquet"
UNLISTED = "unlisted.parquet"
WRITER = "0"
ADOPTED = "-i"  # before the inode of a shard that is another folder's too
OPEN_SHARDS = 512  # mapped at once; each holds a file descriptor, of which a process has 1,024 as a rule
PAGE = mmap.PAGESIZE
SHARD = ("shard", "width", "height", "margin", "nbytes")  # the same for all records of a shard


class ShardWriter:
    """Appends records to a folder, whatever an interrupted run left there; each writer of a folder has its name."""

    def __init__(self, folder: Path, *, writer: str = WRITER, shard_bytes: int = SHARD_BYTES) -> None:
        """Open a folder, drop what this writer left half done, and know the rest."""
        self.folder = folder
        self._shard_bytes, self.name = shard_bytes, writer
        self._unsynced: dict[Path, int] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._indexed = present(folder, records(folder))  # what earlier runs left when they ended
        mend(folder, writer)
        stored = self.stored()
        own = stored.filter(stored["shard"].str.contains(f"-{writer}-", literal=True))
        _cut_tails(folder, own, writer)
        self._open: dict[tuple[int, int, int], tuple[str, int]] = {  # shape and margin -> its last shard, its length
            (width, height, margin): (shard, end)
            for width, height, margin, shard, end in own.group_by("width", "height", "margin", "shard")
            .agg((pl.col("offset") + pl.col("nbytes")).max())
            .sort("shard")
            .iter_rows()
        }

    def finished(self) -> pl.DataFrame:
        """Return the rows of the records of earlier runs, here or in folders that records were adopted from."""
        since = journalled(self.folder)
        return pl.concat([self._indexed, since.filter(since["shard"].str.contains(ADOPTED, literal=True))])

    def stored(self) -> pl.DataFrame:
        """Return the rows of all records: what earlier runs finished, and what any writer has committed since."""
        rows = pl.concat([self._indexed, journalled(self.folder)])
        return rows.unique(["post", "flipped", "key"], keep="last", maintain_order=True)

    def append(self, entries: Sequence[Entry], records: Iterable[np.ndarray]) -> None:
        """Commit records, all or none: after a kill at any moment they are either all there or all gone."""
        if not entries:
            return
        rows, pieces = [], dict[str, list[bytes]]()
        for entry, record in zip(entries, records, strict=True):
            data = np.ascontiguousarray(record, SAMPLE).tobytes()
            shard, offset = self._place(entry, len(data))
            pieces.setdefault(shard, []).append(data)
            where = {"shard": shard, "offset": offset, "nbytes": len(data), "checksum": xxh3_64_intdigest(data)}
            rows.append({field.name: getattr(entry, field.name) for field in fields(Entry)} | where)
        for shard, data_of_shard in pieces.items():
            self._write(self.folder / shard, b"".join(data_of_shard))
        self._write(self.folder / journal(self.name), lines(pl.DataFrame(rows, SCHEMA)))

    def adopt(self, source: Path, rows: pl.DataFrame) -> None:
        """Take over records of another folder without copying: their shards become hard links here."""
        names = {}
        for shard in rows["shard"].unique():
            shape, number = shard.split("-")[1], (source / shard).stat().st_ino
            names[shard] = f"shard-{shape}{ADOPTED}{number}-00000.bin"  # one name for one file, wherever it came from
            with suppress(FileExistsError):
                os.link(source / shard, self.folder / names[shard])
        renamed = rows.with_columns(pl.col("shard").replace_strict(names, return_dtype=pl.String))
        self._write(self.folder / journal(self.name), lines(renamed))

    def finish(self, index: pl.DataFrame) -> None:
        """Make the index of these rows and end the run: the journals go."""
        self.sync()
        others = self.stored().join(index, on=["shard", "offset"], how="anti").unique(["shard", "offset"])
        _write_index(self.folder, others, UNLISTED)
        _write_index(self.folder, index)
        for path in self.folder.glob(journal("*")):
            path.unlink()

    def _place(self, entry: Entry, nbytes: int) -> tuple[str, int]:
        shape = (entry.width, entry.height, entry.margin)
        first = _shard_name(entry, self.name, 0)
        shard, end = self._open.get(shape, (first, 0))
        if end and end + nbytes > self._shard_bytes:
            number = int(shard.rsplit("-", 1)[1].removesuffix(".bin")) + 1
            shard, end = _shard_name(entry, self.name, number), 0
        self._open[shape] = (shard, end + nbytes)
        return shard, end

    def _write(self, path: Path, data: bytes) -> None:
        with path.open("ab", buffering=0) as handle:
            rest = memoryview(data)
            while rest:
                rest = rest[handle.write(rest) :]
        self._unsynced[path] = self._unsynced.get(path, 0) + len(data)
        if self._unsynced[path] >= TAIL_BYTES:
            self.sync()

    def sync(self) -> None:
        """Have everything on disk."""
        for path in sorted(self._unsynced, key=lambda path: path.suffix):  # .bin before .jsonl
            with path.open("rb") as handle:
                os.fsync(handle.fileno())
        self._unsynced.clear()


class Shards:
    """Reads the records of a finished folder at random, through memory maps."""

    def __init__(self, folder: Path) -> None:
        """Open a folder by its index; no record is touched yet."""
        if not (folder / INDEX).exists():
            raise Refused(f"{folder} has no index.parquet: it holds no finished latents; run the stage to its end")
        self.folder = folder
        number = (pl.col("offset") // pl.col("nbytes")).cast(pl.Int32).alias("number")
        places = pl.scan_parquet(folder / INDEX).select(*SHARD, number, "checksum").collect(engine="streaming")
        codes = places["shard"].cast(pl.Categorical)
        self._codes, self._numbers = codes.to_physical().to_numpy(), places["number"].to_numpy()
        self._checksums = places["checksum"].to_numpy()
        one = places.drop("number", "checksum").with_columns(code=codes.to_physical()).unique("code")
        self._shards = {code: row for code, *row in one.select("code", *SHARD).iter_rows()}
        self._maps: OrderedDict[int, Map] = OrderedDict()

    @property
    def posts(self) -> int:
        """Return how many posts have records."""
        return int(self.columns("post")["post"].set_sorted().n_unique())

    @cached_property
    def index(self) -> pl.DataFrame:
        """Return what readers of latents ask for, without keys and checksums."""
        return self.columns(*(name for name in SCHEMA if name not in ("key", "checksum")))

    def columns(self, *names: str) -> pl.DataFrame:
        """Return some columns of the index: all of it is 1 GB for ten million records."""
        return _read_index(self.folder, list(names))

    def read(self, rows: np.ndarray, *, corners: np.ndarray | None = None) -> np.ndarray:
        """Return float16 (N, 2C, height / 8, width / 8) for rows of the index that lie in one bucket.

        Of records with a margin it is the middle, or what begins at `corners`: (N, 2), left and top, in latents.
        One whose bytes are not those that were written is a failure: nothing is made of rotten records in silence.
        """
        columns = (self._codes, self._numbers, self._checksums)
        places = list(zip(*(column[rows].tolist() for column in columns), strict=True))
        maps = {code: self._map(code) for code, _, _ in places}
        shapes = {part.records.shape[1:] for part in maps.values()}
        if len(shapes) != 1:
            raise ValueError(f"rows of one bucket are read together, these are of {len(shapes)}")
        for code, number, _ in places:
            maps[code].expect(number)
        margin = next(iter(maps.values())).margin
        channels, height, width = shapes.pop()
        out = np.empty((len(rows), channels, height - margin, width - margin), SAMPLE)
        for place, (code, number, checksum) in enumerate(places):
            if not maps[code].holds(number, checksum):
                raise self._rotten(code, number)
            left, top = (margin // 2, margin // 2) if corners is None else corners[place]
            out[place] = maps[code].records[number, :, top : top + height - margin, left : left + width - margin]
        return out

    def verify(self, progress: Progress = silent) -> list[str]:
        """Read every record and return a sentence for each that is missing or changed."""
        bad = self.damaged(progress).join(self.index, on=["shard", "offset"], maintain_order="left")
        sizes = {shard: _size(self.folder / shard) for shard in bad["shard"].unique()}
        return [
            f"post {post}: {shard} ends before its record at byte {offset}"
            if offset + nbytes > sizes[shard]
            else f"post {post}: the record at byte {offset} of {shard} has changed"
            for shard, offset, nbytes, post in bad.select("shard", "offset", "nbytes", "post").rows()
        ]

    def damaged(self, progress: Progress = silent) -> pl.DataFrame:
        """Return (shard, offset) of the records that are missing or changed."""
        found, done = [], 0
        places = _read_index(self.folder, ["shard", "offset", "nbytes", "checksum"]).sort("shard", "offset")
        for part in places.partition_by("shard", maintain_order=True):
            found.append(damaged(self.folder, part))
            done += len(part)
            progress(done, len(places), "records checked")
        return pl.concat(found)

    def forget(self, bad: pl.DataFrame) -> None:
        """Take records, by (shard, offset), out of the index; the next run of the stage makes them anew."""
        for name in (UNLISTED, INDEX):
            rows = _read_index(self.folder, name=name)
            _write_index(self.folder, rows.join(bad, on=["shard", "offset"], how="anti"), name)

    def _rotten(self, code: int, number: int) -> Failed:
        shard, *_, nbytes = self._shards[code]
        return Failed(
            f"{self.folder / shard}: the record at byte {number * nbytes} is not what was written; `enogu latents "
            f"verify {self.folder}` lists all such, and `enogu latents repair` takes them out to be made anew"
        )

    def _map(self, code: int) -> "Map":
        if code in self._maps:
            self._maps.move_to_end(code)
            return self._maps[code]
        if len(self._maps) >= OPEN_SHARDS:
            self._maps.popitem(last=False)
        shard, width, height, margin, nbytes = self._shards[code]
        shape = (width + margin) // FACTOR, (height + margin) // FACTOR
        self._maps[code] = Map(self.folder / shard, shape, nbytes, margin=margin // FACTOR)
        return self._maps[code]


class Map:
    """One shard in memory: `records` (N, 2C, height / 8, width / 8) and how much larger they are than their bucket."""

    def __init__(self, path: Path, shape: tuple[int, int], nbytes: int, *, margin: int) -> None:
        """Map a file of records of `nbytes` each."""
        with path.open("rb") as handle:
            self._bytes = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        self.margin, self._nbytes = margin, nbytes
        whole, each = len(self._bytes) // nbytes, nbytes // SAMPLE.itemsize
        flat = np.frombuffer(self._bytes, SAMPLE, count=whole * each)
        self.records = flat.reshape(whole, each // (shape[0] * shape[1]), shape[1], shape[0])

    def expect(self, number: int) -> None:
        """Let the system read a record ahead, while those before it are copied."""
        start = number * self._nbytes // PAGE * PAGE
        if start < len(self._bytes):
            self._bytes.madvise(mmap.MADV_WILLNEED, start, (number + 1) * self._nbytes - start)

    def holds(self, number: int, checksum: int) -> bool:
        """Return whether a record is there and has this checksum."""
        return number < len(self.records) and xxh3_64_intdigest(self.records[number]) == checksum


def records(folder: Path) -> pl.DataFrame:
    """Return the rows of all records of a finished folder, those that its index leaves out as well."""
    return pl.concat([_read_index(folder, name=name) for name in (UNLISTED, INDEX)])


def left_over(folder: Path) -> pl.DataFrame:
    """Return the rows of unlisted records in shards that no other folder has any more."""
    rows = _read_index(folder, name=UNLISTED)
    alone = [name for name in rows["shard"].unique() if (folder / name).stat().st_nlink == 1]
    return rows.filter(pl.col("shard").is_in(alone))


def _shard_name(entry: Entry, writer: str, number: int) -> str:
    margin = f"+{entry.margin}" if entry.margin else ""
    return f"shard-{entry.width:04d}x{entry.height:04d}{margin}-{writer}-{number:05d}.bin"


def _read_index(folder: Path, columns: list[str] | None = None, *, name: str = INDEX) -> pl.DataFrame:
    path = folder / name
    return pl.read_parquet(path, columns=columns) if path.exists() else pl.DataFrame(schema=SCHEMA)


def _write_index(folder: Path, index: pl.DataFrame, name: str = INDEX) -> None:
    sweep_beside(folder / name)
    if name == UNLISTED and index.is_empty():
        (folder / name).unlink(missing_ok=True)
        return
    index = index.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()).sort(
        "post", "flipped", "shard", "offset"
    )
    with atomic_path(folder / name) as part:
        index.write_parquet(part)


def _cut_tails(folder: Path, rows: pl.DataFrame, writer: str) -> None:
    ends = dict(rows.group_by("shard").agg((pl.col("offset") + pl.col("nbytes")).max()).iter_rows())
    sweep_beside(folder / journal(writer))
    for path in folder.glob(f"shard-*-{writer}-*.bin"):
        if path.name not in ends:
            path.unlink()
        elif path.stat().st_size > ends[path.name]:
            os.truncate(path, ends[path.name])


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
