"""The captions room under load: `python -m benchmarks.data_captions [CASE ...]`, beside HakuBooru and kohya's scripts.

Each case runs in a process of its own, so that its peak of memory is its own. Peers run where their sources are:
checkouts of kohya-ss/sd-scripts and KohakuBlueleaf/HakuBooru in build/peers/, or where `--kohya` and `--hakubooru` say.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from benchmarks import data_caption_peers as peers
from benchmarks.data_synthetic_posts import synthetic_posts
from enogu.captions import stage
from enogu.captions.compose import numbers
from enogu.captions.config import CaptionsConfig, CaptionSet
from enogu.captions.reading import Reader, reader
from enogu.core.records.job import Job

PEERS = Path(__file__).parents[1] / "build" / "peers"
COMMAND = "python -m benchmarks.data_captions"
MILLION = 1_000_000
READS = 100_000
Row = tuple[str, str, str]  # what, figure, what was to be reached
Case = Callable[["Bench"], Iterator[Row]]


class Bench:
    """Where a case works, and how large it is."""

    def __init__(self, folder: Path, scale: float, sources: dict[str, Path]) -> None:
        """Keep the settings."""
        self.folder, self.scale, self.sources = folder, scale, sources

    def posts(self, number: int, *, tags: bool = True) -> Path:
        """Return a posts folder of so many synthetic posts, made once."""
        number = int(number * self.scale)
        folder = self.folder / f"posts-{number}{'' if tags else '-numbers'}"
        if not (folder / "posts.json").exists():
            synthetic_posts(folder, number, tags=tags)
        return folder

    def captioned(self, number: int, **settings: object) -> tuple[Path, "Taken"]:
        """Run the stage over synthetic posts; return its folder and the time taken."""
        posts, out = self.posts(number), self.folder / f"captions-{number}"
        started = Taken()
        config = CaptionsConfig(posts="p", **settings)  # type: ignore[arg-type]
        stage.run(config, Job(out=out, inputs={"posts": {"p": posts}}))
        return out, Taken() - started


@dataclass(frozen=True)
class Taken:
    """Seconds by the clock, and of a core, which say the same on a busy machine."""

    clock: float = field(default_factory=time.perf_counter)
    core: float = field(default_factory=peers.cpu_seconds)

    def __sub__(self, other: "Taken") -> "Taken":
        """Return the time between two."""
        return Taken(self.clock - other.clock, self.core - other.core)

    def __str__(self) -> str:
        """Return both."""
        return f"{self.clock:.2f} s, {self.core:.2f} s of a core"


def words_case(bench: Bench) -> Iterator[Row]:
    """Quality words of 10M posts, by percentile within rating, and within rating and a moving year."""
    folder = bench.posts(10 * MILLION, tags=False)
    posts = pl.scan_parquet(folder / "posts.parquet").select(*stage.NUMBERS)
    for name in ("kohaku", "windowed", "noobai", "kohaku-2023"):
        config = CaptionsConfig(posts="p", quality=name, year="", year_number=False)
        started = Taken()
        told = numbers(posts, posts, config)
        yield f"quality words, table {name!r}, {len(told):,} posts", f"{Taken() - started}, {_peak()}", "5 s"


def read_case(bench: Bench) -> Iterator[Row]:
    """Captions built and shuffled, a core."""
    number = MILLION // 5
    folder, taken = bench.captioned(number, drop_tags=0.1)
    captions = int(number * bench.scale) * 2
    made = captions / taken.core
    yield f"{captions:,} captions composed and kept, in two sets", f"{taken}: {made:,.0f}/s a core", "20,000 a second"
    read = reader(folder, 0)
    yield (
        "read: shuffled, 10 % of the tags dropped",
        f"{_reads(read, 'tags'):,.0f} captions/s a core",
        "20,000 a second",
    )
    yield "read: at most ten words by priority", f"{_reads(read, 'short'):,.0f} captions/s a core", "20,000 a second"
    budget = {"budget": CaptionSet(budget=75), "text": CaptionSet()}
    folder, _ = bench.captioned(number // 4, sets=budget)
    yield (
        "read: cut at 75 tokens by priority",
        f"{_reads(reader(folder, 0), 'budget'):,.0f} captions/s a core",
        "20,000",
    )


def memory_case(bench: Bench) -> Iterator[Row]:
    """One million posts composed and read."""
    folder, taken = bench.captioned(MILLION)
    yield "1,000,000 posts composed, two sets each", f"{taken}, {_peak()}", "2 GB"
    yield "on disk", f"{_size(folder / 'captions.parquet')} captions.parquet, {_size(folder / 'packed')} packed", ""


def opened_case(bench: Bench) -> Iterator[Row]:
    """What a training process needs to begin on the million posts of the case `memory`."""
    folder = bench.folder / f"captions-{MILLION}"  # the posts are fewer where --scale says so
    if not folder.exists():
        return
    started = Taken()
    read = reader(folder, 0)
    read.caption(int(read.posts[-1]), epoch=0)
    yield "1,000,000 posts opened, first caption", f"{Taken() - started}, {_peak()}", "10 s, 1 GB"
    rate = _reads(read, "tags")
    yield "read at random", f"{rate:,.0f} captions/s, {_peak()}", "20,000 a second"


def ten_million_case(bench: Bench) -> Iterator[Row]:
    """Ten million posts composed and read."""
    folder, taken = bench.captioned(10 * MILLION, sets={"tags": CaptionSet()})
    yield "10,000,000 posts composed, one set", f"{taken}, {_peak()}", "2 GB"
    yield "on disk", f"{_size(folder / 'captions.parquet')} captions.parquet, {_size(folder / 'packed')} packed", ""


def peers_case(bench: Bench) -> Iterator[Row]:
    """100,000 posts beside the peers: merge_*_to_metadata.py joins finished texts, HakuBooru builds captions."""
    folder = bench.posts(MILLION // 10)
    number = int(MILLION // 10 * bench.scale)
    out, taken = bench.captioned(MILLION // 10, sets={"tags": CaptionSet()}, year="hakubooru", quality="kohaku-2023")
    yield f"ours: {number:,} posts captioned, kept, tokens counted", f"{taken}: {number / taken.core:,.0f}/s a core", ""
    core = taken.core + number / _reads(reader(out, 0), "tags")
    yield "ours: the same, and every caption shuffled once", f"{core:.2f} s of a core: {number / core:,.0f}/s", "20,000"
    for name, count, core in peers.raced(folder, out, bench.folder, bench.sources):
        yield f"{name}, {count:,}", f"{core:.2f} s of a core: {count / core:,.0f}/s", ""


CASES: dict[str, Case] = {
    "words": words_case,
    "read": read_case,
    "memory": memory_case,
    "opened": opened_case,
    "peers": peers_case,
    "ten-million": ten_million_case,
}
BY_NAME_ONLY = ("ten-million",)  # ten minutes and 5 GB of disk


def _reads(read: Reader, name: str) -> float:
    posts = pl.Series(read.posts).sample(min(READS, len(read.posts)), seed=0).to_list()
    started = time.process_time()
    for post in posts:
        read.caption(post, epoch=1, set=name)
    return len(posts) / (time.process_time() - started)


def _peak() -> str:
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB at most"


def _size(path: Path) -> str:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return f"{sum(file.stat().st_size for file in files) / 1e9:.2f} GB"


def _alone(name: str, args: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """Run a case in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.data_captions", "--alone", name, "--folder", str(folder)]
    command += ["--scale", str(args.scale), "--kohya", str(args.kohya), "--hakubooru", str(args.hakubooru)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield tuple(json.loads(line))
    if process.returncode:
        yield f"{name} failed", f"exit status {process.returncode}", ""


def main(arguments: list[str] | None = None) -> int:
    """Run the chosen cases, print as they go, keep the table."""
    verb = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    verb.add_argument(
        "cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; default: all but " + ", ".join(BY_NAME_ONLY)
    )
    verb.add_argument("--scale", type=float, default=1.0, help="of every number of posts")
    verb.add_argument("--folder", type=Path, help="where to work; kept, if given")
    verb.add_argument("--kohya", type=Path, default=PEERS / "sd-scripts", help="a checkout of kohya-ss/sd-scripts")
    verb.add_argument("--hakubooru", type=Path, default=PEERS / "HakuBooru", help="one of KohakuBlueleaf/HakuBooru")
    verb.add_argument("--alone", choices=CASES, help=argparse.SUPPRESS)
    args = verb.parse_args(arguments)
    if strange := set(args.cases) - set(CASES):
        verb.error(f"there is no case {min(strange)!r}; there are {', '.join(CASES)}")
    sources = {"kohya": args.kohya, "hakubooru": args.hakubooru}
    if args.alone:
        for row in CASES[args.alone](Bench(args.folder, args.scale, sources)):
            print(json.dumps(row), flush=True)
        return 0
    print(f"# Captions\n\n{_machine()}; {datetime.date.today()}; `{COMMAND}`; Polars {pl.__version__}\n")
    print("| work | reached | to reach |\n| --- | ---: | ---: |", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.cases or [name for name in CASES if name not in BY_NAME_ONLY]:
            for row in _alone(name, args, args.folder or Path(scratch)):
                print(f"| {' | '.join(row)} |", flush=True)
    return 0


def _machine() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {os.cpu_count()} cores"


if __name__ == "__main__":
    os.environ.setdefault("POLARS_MAX_THREADS", str(os.cpu_count() or 1))
    sys.exit(main())
