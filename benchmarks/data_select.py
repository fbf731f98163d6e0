"""Selecting among ten million posts of thirty tags each, and grouping ten million hashes; every case by itself:

    python -m benchmarks.data_select [make | index | query | groups]... [--posts N] [--folder build/data-select]

`make` writes the posts once (1.3 GB; the index takes 1.7 GB more), the others use them. Each case is a process of its
own, so that its peak of memory is its own. `taskset -c 1` keeps it to one core.
"""

import argparse
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.side_by_side import machine
from enogu.core.records.posts import CATEGORIES, SCHEMA
from enogu.posts.config import Where
from enogu.posts.duplicates import groups
from enogu.posts.select import select
from enogu.posts.tag_indexing import indexed

TAGS = 140_000  # as many as danbooru has posts for (tagcomplete's list)
PER_POST = {"general": 24, "artist": 1, "copyright": 1, "character": 1, "meta": 3}
SHARE = {"general": 0.22, "artist": 0.42, "copyright": 0.07, "character": 0.285, "meta": 0.005}
CHUNK = 1 << 18
QUERIES = (
    "general_3 general_40",
    "general_3 -general_7 score:>=10",
    "general_0 -general_1 (general_5 or general_90) date:2018..2022 width:>=512 score:>=10",
    "*_12 -artist_5 ratio:0.5..2 mpixels:>=0.5",
    "artist_3 or artist_999 or character_42",
    "general_1* -general_1? tagcount:>=20",
)


def main() -> None:
    """Run the cases that are asked for, each in a process of its own, and print what they took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*", default=["make", "index", "query", "groups"])
    parser.add_argument("--posts", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, default=Path("build/data-select"))
    parser.add_argument("--here", action="store_true", help="in this process")
    args = parser.parse_args()
    if args.here:
        {"make": make, "index": index, "query": query, "groups": group}[args.cases[0]](args.folder, args.posts)
        return
    lines = []
    for case in args.cases:
        command = [sys.executable, "-m", "benchmarks.data_select", case, "--here"]
        command += ["--posts", str(args.posts), "--folder", str(args.folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                lines.append(line)
        if process.returncode:
            raise SystemExit(process.returncode)
    _write(lines, args.posts)


def make(folder: Path, count: int) -> None:
    """Write posts in the normal form, tags as frequent as Zipf says."""
    folder.mkdir(parents=True, exist_ok=True)
    began = _now()
    vocabulary = {kind: pl.Series([f"{kind}_{n}" for n in range(int(TAGS * SHARE[kind]))]) for kind in PER_POST}
    frames = (_chunk(start, min(CHUNK, count - start), vocabulary) for start in range(0, count, CHUNK))
    parts = []
    for number, frame in enumerate(frames):
        parts.append(folder / f"{number:04d}.part")
        frame.write_parquet(parts[-1], compression="lz4")
    pl.concat([pl.scan_parquet(part) for part in parts]).sink_parquet(folder / "posts.parquet")
    for part in parts:
        part.unlink()
    _tell("make", f"{count:,} posts", began)


def _chunk(start: int, count: int, vocabulary: dict[str, pl.Series]) -> pl.DataFrame:
    rng = np.random.default_rng([1, start])
    seconds = 1_115_000_000 + (start + np.arange(count)) * 55
    sides = rng.integers(300, 3000, (2, count))
    columns = {
        "id": pl.Series(start + np.arange(count)),
        "source": pl.Series(["danbooru"]).new_from_index(0, count),
        "rating": pl.Series(np.array(["general", "sensitive", "questionable", "explicit"])[rng.integers(0, 4, count)]),
        "created_at": pl.Series(seconds * 1_000_000).cast(SCHEMA["created_at"]),
        "score": pl.Series((rng.exponential(20, count) - 5).astype(np.int64)),
        "fav_count": pl.Series(rng.exponential(25, count).astype(np.int64)),
        "width": pl.Series(sides[0].astype(np.int32)),
        "height": pl.Series(sides[1].astype(np.int32)),
        "image": pl.select(pl.concat_str(pl.int_range(start, start + count), pl.lit(".webp"))).to_series(),
        "is_deleted": pl.Series(rng.random(count) < 0.05),
        "is_banned": pl.Series(rng.random(count) < 0.01),
    }
    for kind in CATEGORIES:
        each = PER_POST.get(kind, 0)
        if each:
            ranks = (len(vocabulary[kind]) + 1.0) ** rng.random(count * each) - 1  # log-uniform: Zipf with exponent 1
            tags = vocabulary[kind].gather(ranks.astype(np.int64))
            columns[f"tags_{kind}"] = tags.reshape((count, each)).arr.to_list()
    frame = pl.DataFrame(columns)
    missing = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in SCHEMA.items() if name not in columns]
    return frame.with_columns(missing).select(*SCHEMA)


def index(folder: Path, count: int) -> None:
    """Build the index."""
    began = _now()
    built = indexed(folder / "posts.parquet")
    size = sum(path.stat().st_size for path in built.folder.iterdir())
    _tell("index", f"{built.posts:,} posts, {len(built.tags):,} tags, {size / 1e9:.2f} GB", began)


def query(folder: Path, count: int) -> None:
    """Open the index and answer queries, each from gates to rows; then the same again, warm."""
    began = _now()
    opened = indexed(folder / "posts.parquet")
    assert not opened.tags.is_empty()
    _tell("query", "open", began)
    for again in ("first", "again"):
        for text in QUERIES:
            began = _now()
            chosen = select(opened, Where(query=text), seed=0)
            _tell("query", f"{again}: {text} -> {len(chosen.rows):,}", began)
    began = _now()
    chosen = select(opened, Where(caps={"artist": 1000}, sample=1_000_000), seed=0)
    _tell("query", f"caps artist 1,000, sample -> {len(chosen.rows):,}", began)


def group(folder: Path, count: int) -> None:
    """Group even hashes among which one in a hundred has a near twin."""
    rng = np.random.default_rng(2)
    hashes = rng.integers(0, 1 << 64, count, dtype=np.uint64)
    twins = count // 100
    here, there = (
        rng.choice(count // 2, twins, replace=False),
        count // 2 + rng.choice(count // 2, twins, replace=False),
    )
    flips = np.zeros(twins, np.uint64)
    for _ in range(3):
        flips |= np.uint64(1) << rng.integers(0, 64, twins, dtype=np.uint64)
    hashes[there] = hashes[here] ^ flips
    began = _now()
    found = groups(hashes)
    _tell("groups", f"{count:,} hashes, {int((found[here] == found[there]).sum()):,} of {twins:,} planted", began)


def _tell(case: str, what: str, began: tuple[float, float]) -> None:
    wall, cpu = (now - then for now, then in zip(_now(), began, strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"| {case} | {what} | {wall:.2f} s | {cpu:.2f} s | {peak:.2f} GB |", flush=True)


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _write(lines: list[str], posts: int) -> None:
    now = f"{datetime.now(UTC):%Y-%m-%d}"
    told = "`python -m benchmarks.data_select`; memory is the peak of a case's process so far, mapped files included."
    head = f"# Selection and groups over {posts:,} posts\n\n{machine()}, {now}, by {told}\n\n"
    table = "| case | what | time | CPU | memory |\n|---|---|---:|---:|---:|\n" + "".join(lines)
    (Path(__file__).parent / "data_select.md").write_text(head + table)


if __name__ == "__main__":
    main()
