"""Latents at the size of a maker's set: buckets and plan, the start of training, random reads against kohya's npz.

`python -m benchmarks.data_latents [plan] [start] [read] [write] [--pictures N] [--records N] [--folder DIR]`
Each case runs in a process of its own, so that its peak of memory is its own. `read` takes 64 KiB a record and as much
again for the npz files; "cold" means that the system was told to drop the pages, the host's own cache aside.
"""

import argparse
import datetime
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

import numpy as np
import polars as pl
from xxhash import xxh3_64_intdigest

from enogu.captions.ragged import RaggedWriter
from enogu.captions.rules import Rules, to_plain
from enogu.core.records.files import write_json
from enogu.core.records.journal import SCHEMA, Entry
from enogu.core.records.shards import SHARD_BYTES, Shards, ShardWriter
from enogu.latents.buckets import Buckets
from enogu.latents.plan import plan
from enogu.recipe.kinds import EMBEDDED

SHAPES = ((512, 512), (448, 576), (576, 448), (384, 640), (640, 384))
CHANNELS = 8  # of SD1's moments: mean and log variance of 4, float16
BATCH = 16
HELD_OUT = 1024
WORDS, VOCABULARY = 20, 140_000  # of a caption, of all
BLOCK = 1_000_000  # captions written at once
KOHYA_CHANNELS = 4  # of a sampled latent, float32, as sd-scripts' save_latents_to_disk writes them
Row = tuple[str, str, str]  # what, figure, target


def sizes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return widths and heights like those of a booru: more upright than wide, half a megapixel to ten."""
    rng = np.random.default_rng(0)
    ratio, pixels = np.exp(rng.normal(-0.25, 0.35, count)), np.exp(rng.normal(0.5, 0.6, count)) * 1e6
    return np.sqrt(pixels * ratio).astype(np.int32) + 1, np.sqrt(pixels / ratio).astype(np.int32) + 1


def plan_case(args: argparse.Namespace) -> Iterator[Row]:
    """Assign buckets and plan an epoch."""
    widths, heights = sizes(args.pictures)
    before = peak()
    started = time.perf_counter()
    shapes = Buckets(area=1024 * 1024).assign(widths, heights)
    assigned = time.perf_counter()
    index = pl.DataFrame(
        {
            "post": np.arange(args.pictures),
            "width": shapes[:, 0],
            "height": shapes[:, 1],
            "flipped": np.zeros(args.pictures, bool),
        }
    )
    del widths, heights, shapes
    batches = plan(index, batch=BATCH, seed=0, epoch=0)
    planned = time.perf_counter()
    yield f"buckets of {args.pictures:,} pictures", f"{assigned - started:.1f} s", ""
    yield f"plan of an epoch, {len(batches):,} batches of {BATCH}", f"{planned - assigned:.1f} s", "both < 30 s"
    yield "peak of memory", f"{peak():.2f} GB ({before:.2f} before)", "1 GB"


def start_case(args: argparse.Namespace) -> Iterator[Row]:
    """Start a training process on as many latents and captions: from its launch to the first batch in hand."""
    write_index(args.folder, args.pictures)
    write_captions(args.folder / "captions", args.pictures)
    yield from alone("started", args)


def started_case(args: argparse.Namespace) -> Iterator[Row]:
    """Do all that the stage does before its first update, on the mini networks; `args.launched` is when we were."""
    from enogu.captions.reading import reader
    from enogu.core.networks.checkpoint import load
    from enogu.train.config import Phase, Rates, TrainConfig
    from enogu.train.data import LatentSet, batches
    from enogu.train.tuner import Tuner
    from enogu.train.validation import Validation

    def since() -> str:
        return f"{time.time() - args.launched:.1f} s"

    phases = (Phase(lr=Rates(unet=1e-4), images=1000),)
    config = TrainConfig(start="a", latents=("b",), captions="c", phases=phases)
    yield "from launch: PyTorch and the stage imported", since(), ""
    Tuner(config, load(files("enogu") / EMBEDDED["model"]["mini-sd1"]), "cpu")
    yield "the mini networks and their optimizer", since(), ""
    data = LatentSet(Shards(args.folder), held_out=HELD_OUT, seed=0)
    size = (args.folder / "index.parquet").stat().st_size / 1e6
    yield f"{args.pictures:,} records opened ({size:,.0f} MB of index), {HELD_OUT:,} held out", since(), ""
    captions = reader(args.folder / "captions", 0)
    yield f"captions of {len(captions.posts):,} posts opened", since(), ""
    Validation(data, captions, 0, 1)
    first = next(batches(data, captions, plan, batch=BATCH, seed=0, chunks=1, set="tags", at=(0, 0)))
    yield f"epoch planned, first batch of {len(first.moments)} in hand", since(), "< 10 s"
    yield "peak of memory, PyTorch and mapped files included", f"{peak():.2f} GB", ""


def read_case(args: argparse.Namespace) -> Iterator[Row]:
    """Read batches at random by bucket, from shards and from npz files."""
    rng = np.random.default_rng(1)
    writer = ShardWriter(args.folder)
    (args.folder / "npz").mkdir(exist_ok=True)
    for start in range(0, args.records, 64):
        posts = range(start, min(start + 64, args.records))
        shapes = [SHAPES[post % len(SHAPES)] for post in posts]
        moments = [rng.standard_normal((CHANNELS, h // 8, w // 8), np.float32).astype(np.float16) for w, h in shapes]
        writer.append([entry(post, shape) for post, shape in zip(posts, shapes, strict=True)], moments)
        for post, record in zip(posts, moments, strict=True):
            write_npz(args.folder / "npz" / f"{post}.npz", record[:KOHYA_CHANNELS].astype(np.float32))
    writer.finish(writer.stored())
    figures = {}
    for way in ("shards", "npz"):
        drop(args.folder)
        for row in alone(way, args):
            figures[way, row[0]] = float(row[1])
    size = CHANNELS * 64 * 64 * 2
    for temperature, least in (("cold", 5_000), ("warm", 50_000)):
        ours, theirs = figures["shards", temperature], figures["npz", temperature]
        yield f"shards, {temperature}: records of {size:,} bytes a second", f"{ours:,.0f}", f"{least:,}"
        yield f"npz as sd-scripts writes and reads it, {temperature}", f"{theirs:,.0f}", ""
        yield f"times as fast, {temperature}", f"{ours / theirs:.1f}", "10"


def shards_case(args: argparse.Namespace) -> Iterator[Row]:
    """Read every record once in random batches, cold and then warm."""
    shards = Shards(args.folder)
    yield from timed(plan(shards.index, batch=BATCH, seed=0, epoch=0), lambda batch: shards.read(batch))


def npz_case(args: argparse.Namespace) -> Iterator[Row]:
    """Read every file once in the same batches, with the keys that sd-scripts' load_latents_from_disk takes."""
    batches = plan(Shards(args.folder).index, batch=BATCH, seed=0, epoch=0)

    def read(batch: np.ndarray) -> None:
        latents = []
        for post in batch:
            npz = np.load(args.folder / "npz" / f"{post}.npz")
            latents.append(npz["latents"])
            npz["original_size"].tolist(), npz["crop_ltrb"].tolist()
        np.stack(latents)

    yield from timed(batches, read)


def write_case(args: argparse.Namespace) -> Iterator[Row]:
    """Append, open again as after a kill, end, and verify."""
    record = np.random.default_rng(0).standard_normal((CHANNELS, 64, 64), np.float32).astype(np.float16)
    writer = ShardWriter(args.folder)
    started = time.perf_counter()
    for start in range(0, args.records, BATCH):
        writer.append([entry(post, SHAPES[0]) for post in range(start, start + BATCH)], [record] * BATCH)
    written = time.perf_counter()
    again = ShardWriter(args.folder)
    opened = time.perf_counter()
    again.finish(again.stored())
    finished = time.perf_counter()
    problems = Shards(args.folder).verify()
    verified = time.perf_counter()
    yield f"append {args.records:,} records of 65,536 bytes", f"{args.records / (written - started):,.0f} a second", ""
    yield "open again after a kill, last 64 MB checked", f"{opened - written:.2f} s", ""
    yield "write the index", f"{finished - opened:.2f} s", ""
    rate = args.records * 65_536 / (verified - finished) / 1e9
    yield f"verify ({len(problems)} problems)", f"{rate:.1f} GB a second", ""


def entry(post: int, shape: tuple[int, int]) -> Entry:
    """Return what the index says of a record."""
    width, height = shape
    return Entry(
        post=post,
        width=width,
        height=height,
        flipped=False,
        key=f"{post:016x}",
        original_width=width,
        original_height=height,
        crop_left=0,
        crop_top=0,
    )


def write_npz(path: Path, latents: np.ndarray) -> None:
    """Write one file as sd-scripts does (library/train_util.py, 2026-02)."""
    size = np.array([latents.shape[2] * 8, latents.shape[1] * 8])
    np.savez(path, latents=latents, original_size=size, crop_ltrb=np.array([0, 0, *size]))


def _checksums_of_holes(nbytes: np.ndarray) -> np.ndarray:
    sizes, which = np.unique(nbytes, return_inverse=True)
    return np.array([xxh3_64_intdigest(bytes(size)) for size in sizes.tolist()], np.uint64)[which]


def write_index(folder: Path, count: int) -> None:
    """Write an index, and its shards of 1 GB as files full of holes."""
    widths, heights = sizes(count)
    shapes = Buckets(area=1024 * 1024).assign(widths, heights)
    nbytes = CHANNELS * 2 * shapes[:, 0].astype(np.int64) * shapes[:, 1] // 64
    columns = {
        "post": np.arange(count),
        "width": shapes[:, 0],
        "height": shapes[:, 1],
        "nbytes": nbytes,
        "checksum": _checksums_of_holes(nbytes),
        "original_width": widths,
        "original_height": heights,
    }
    place, each = pl.int_range(pl.len()).over("width", "height"), SHARD_BYTES // pl.col("nbytes")
    frame = pl.DataFrame(columns).with_columns(
        shard=pl.format("shard-{}x{}-0-{}.bin", "width", "height", place // each),
        offset=place % each * pl.col("nbytes"),
        key=pl.format("{}", pl.col("post").hash()),
        flipped=pl.lit(value=False),
        margin=pl.lit(0),
        crop_left=pl.lit(0),
        crop_top=pl.lit(0),
    )
    for shard, end in frame.group_by("shard").agg((pl.col("offset") + pl.col("nbytes")).max()).iter_rows():
        with (folder / shard).open("wb") as handle:
            handle.truncate(end)
    frame.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()).write_parquet(folder / "index.parquet")


def write_captions(folder: Path, count: int) -> None:
    """Write a captions folder as the stage does, of words drawn evenly."""
    rng = np.random.default_rng(0)
    words = RaggedWriter(folder / "packed" / "words", np.uint32)
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        drawn = rng.integers(VOCABULARY, size=size * WORDS, dtype=np.uint32)
        words.append(np.arange(start, start + size), np.full(size, WORDS), drawn)
    words.close()
    vocabulary = {"group": ["general"] * VOCABULARY, "text": [f"word {number}" for number in range(VOCABULARY)]}
    pl.DataFrame(vocabulary).write_parquet(folder / "packed" / "vocabulary.parquet")
    rules = to_plain(Rules(order=("general",), shuffled=frozenset({"general"}), drop_caption=0.1))
    write_json(folder / "captions.json", {"groups": {"general": count}, "texts": {}, "sets": {"tags": rules}})


def timed(batches: list[np.ndarray], read: Callable[[np.ndarray], object]) -> Iterator[Row]:
    """Time two passes over the batches."""
    for temperature in ("cold", "warm"):
        started = time.perf_counter()
        for batch in batches:
            read(batch)
        yield temperature, f"{len(batches) * BATCH / (time.perf_counter() - started):.1f}", ""


def drop(folder: Path) -> None:
    """Have every page of every file forgotten; none may be mapped."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as handle:
                os.fsync(handle.fileno())
                os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def peak() -> float:
    """Return the most memory that this process has had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


CASES = MappingProxyType({"plan": plan_case, "start": start_case, "read": read_case, "write": write_case})
PARTS = MappingProxyType({"started": started_case, "shards": shards_case, "npz": npz_case})


def alone(name: str, args: argparse.Namespace) -> Iterator[Row]:
    """Run a case in a process of its own, and yield its rows as they come."""
    command = [sys.executable, "-m", "benchmarks.data_latents", "--alone", name, "--folder", str(args.folder)]
    command += ["--pictures", str(args.pictures), "--records", str(args.records), "--launched", str(time.time())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            what, figure, target = line.removesuffix("\n").split("\t")
            yield what, figure, target
    if process.returncode:
        raise SystemExit(f"the case {name} failed")


def main() -> None:
    """Run the cases that are named, all if none is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], default=[])
    parser.add_argument("--pictures", type=int, default=12_400_000)
    parser.add_argument("--records", type=int, default=16_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    parser.add_argument("--launched", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        for row in {**CASES, **PARTS}[args.alone](args):
            print(*row, sep="\t", flush=True)
        return
    from benchmarks.side_by_side import machine  # brings torch, which would count as memory of the cases

    print(f"# Latents\n\n{machine()}, {datetime.date.today()}. `python -m benchmarks.data_latents`\n")
    print("| work | figure | target |\n|---|---:|---:|", flush=True)
    for name in args.cases or CASES:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            for row in alone(name, argparse.Namespace(**{**vars(args), "folder": Path(folder)})):
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
