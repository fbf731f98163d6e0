"""Import of synthetic posts from danbooru2023's SQLite and from Danbooru's JSON lines: time, memory, size.

`python -m benchmarks.data_import [sqlite] [json] [--posts N] [--folder DIR]`; ten million posts take 6 GB as SQLite or
19 GB as JSON lines, and the import another 5 GB. Each source is drawn, imported and removed in turn: 25 GB at most.
"""

import argparse
import datetime
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import MappingProxyType

import adbc_driver_manager as manager
import adbc_driver_sqlite as driver
import numpy as np
import polars as pl

from benchmarks.side_by_side import machine
from enogu.core.records.progress import silent
from enogu.posts.config import PostsConfig
from enogu.posts.importing import ahead, import_posts
from enogu.posts.sources import find

CHUNK = 100_000  # posts drawn at a time
DRAWS = 8  # different chunks of tags, used in turn
# Tags of each kind in the tagcomplete list of Danbooru, and how many of each a post carries on average.
KINDS = MappingProxyType(
    {
        "general": (30_782, 23.0),
        "artist": (59_201, 1.0),
        "character": (40_931, 1.6),
        "copyright": (9_478, 1.3),
        "meta": (390, 3.1),
    }
)
ZIPF = 1.05  # the exponent of how often the n-th tag is used
TARGET = MappingProxyType({"sqlite": 180, "json": 600})  # seconds for ten million posts on two cores
MEMORY = 2e9  # bytes
TOLD = 1_000_000  # posts between two signs of life


def vocabulary() -> pl.DataFrame:
    """Return the tags: id, name, type by danbooru2023's numbers; names are as long as real ones."""
    kinds = np.repeat(np.arange(len(KINDS)), [count for count, _ in KINDS.values()])
    places = np.concatenate([np.arange(count) for count, _ in KINDS.values()])
    names = [f"{kind}_{place:x}_name"[: 10 + place % 9] + f"{place:x}" for kind, place in zip(
        np.array(list(KINDS))[kinds], places.tolist(), strict=True)]  # fmt: skip
    return pl.DataFrame({"id": np.arange(1, len(kinds) + 1), "name": names, "type": kinds})


@cache
def draw(seed: int, count: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return for each kind of tag the rows of posts and the tags' places within the kind, no tag twice on a post."""
    rng = np.random.default_rng(seed)
    drawn = {}
    for kind, (tags, mean) in KINDS.items():
        weights = 1 / np.arange(1, tags + 1) ** ZIPF
        counts = rng.poisson(mean, count)
        rows = np.repeat(np.arange(count), counts)
        picks = np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(len(rows)))
        both = np.unique(rows * tags + np.minimum(picks, tags - 1))
        drawn[kind] = (both // tags, both % tags)
    return drawn


def posts(start: int, count: int) -> pl.DataFrame:
    """Return posts without their tags, under the names of the API."""
    rng = np.random.default_rng(start + 1)
    ids = np.arange(start, start + count)
    seconds = pl.Series(1_116_000_000 + ids * 60 % 640_000_000).cast(pl.Int64)
    up, down = rng.poisson(12, count), rng.poisson(0.3, count)
    low, high = rng.integers(0, 2**63, count), rng.integers(0, 2**63, count)
    md5 = pl.Series([f"{a:016x}{b:016x}" for a, b in zip(low.tolist(), high.tolist(), strict=True)])
    frame = pl.DataFrame({"id": ids, "md5": md5, "score": up - down, "up_score": up, "down_score": -down})
    return frame.with_columns(
        created_at=pl.from_epoch(seconds).dt.strftime("%Y-%m-%dT%H:%M:%S%.3f-04:00"),
        fav_count=pl.Series(rng.poisson(15, count)),
        rating=pl.Series(rng.choice(4, count, p=[0.25, 0.45, 0.15, 0.15])),
        image_width=pl.Series(rng.integers(600, 3000, count)),
        image_height=pl.Series(rng.integers(600, 3000, count)),
        file_ext=pl.Series(rng.choice(["jpg", "png"], count)),
        file_size=pl.Series(rng.integers(1e5, 4e6, count)),
        uploader_id=pl.Series(rng.integers(1, 10**6, count)),
        source=pl.format("https://i.pximg.net/img-original/img/2019/01/02/03/04/05/{}_p0.jpg", pl.lit(ids) * 9 % 10**8),
        parent_id=pl.when(pl.col("id") % 11 == 0).then(pl.col("id") - 1),
        pixiv_id=pl.when(pl.col("id") % 2 == 0).then(pl.col("id") * 9 % 10**8),
        **{name: pl.lit(False) for name in ("is_pending", "is_flagged", "has_children", "has_large")},
        is_deleted=pl.col("id") % 17 == 0,
        is_banned=pl.col("id") % 97 == 0,
    )


def write_sqlite(path: Path, total: int) -> None:
    """Write the tables of danbooru2023, without the index on its pairs, as in the smaller of its two versions."""
    connection = manager.AdbcConnection(database := driver.connect(str(path)))
    execute(connection, "PRAGMA synchronous = OFF")
    relations = 0
    for some, pairs in ahead(tables(total)):
        ids = pl.Series("id", np.arange(relations + 1, relations + 1 + len(pairs)))
        ingest(connection, "post", some)
        ingest(connection, "posttagrelation", pairs.insert_column(0, ids))
        relations += len(pairs)
    ingest(connection, "tag", vocabulary().with_columns(popularity=pl.lit(0)))
    connection.close()
    database.close()


def tables(total: int) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Yield posts, and their pairs of post and tag."""
    for start, count in chunks(total):
        rows, tags = tagged(start // CHUNK % DRAWS, count)
        pairs = pl.DataFrame({"post_id": rows + start, "tag_id": tags})
        yield posts(start, count).with_columns(pl.col(pl.Boolean).cast(pl.Int64)), pairs


@cache
def tagged(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of posts, rising, and the ids of their tags."""
    offsets = dict(zip(KINDS, np.cumsum([0, *(count for count, _ in KINDS.values())]).tolist(), strict=False))
    drawn = draw(seed, count)
    rows = np.concatenate([rows for rows, _ in drawn.values()])
    tags = np.concatenate([places + 1 + offsets[kind] for kind, (_, places) in drawn.items()])
    order = np.argsort(rows, kind="stable")
    return rows[order], tags[order]


def ingest(connection: manager.AdbcConnection, table: str, frame: pl.DataFrame) -> None:
    """Append a frame to a table; the first column is its key, so that it is the rowid as in the real file."""
    kinds = {pl.String: "TEXT"}
    columns = [f"{name} {kinds.get(type(dtype), 'INTEGER')}" for name, dtype in frame.schema.items()]
    columns[0] += " PRIMARY KEY"
    execute(connection, f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(columns)})")
    statement = manager.AdbcStatement(connection)
    statement.set_options(**{"adbc.ingest.target_table": table, "adbc.ingest.mode": "adbc.ingest.mode.append"})
    statement.bind_stream(frame)
    statement.execute_update()
    statement.close()


def execute(connection: manager.AdbcConnection, query: str) -> None:
    """Run a query that answers nothing."""
    statement = manager.AdbcStatement(connection)
    statement.set_sql_query(query)
    statement.execute_update()
    statement.close()


def write_json(path: Path, total: int) -> None:
    """Write one API object a line."""
    with path.open("wb") as out:
        for frame in ahead(objects(total)):
            frame.write_ndjson(out)


def objects(total: int) -> Iterator[pl.DataFrame]:
    """Yield posts as the API tells of them."""
    urls = {
        name: pl.format("https://cdn.donmai.us/{}/{}.jpg", pl.lit(name), "md5")
        for name in ("file_url", "large_file_url", "preview_file_url")
    }
    for start, count in chunks(total):
        yield (
            posts(start, count)
            .hstack(words(start // CHUNK % DRAWS, count))
            .with_columns(
                rating=pl.col("rating").replace_strict({0: "g", 1: "s", 2: "q", 3: "e"}),
                media_asset=pl.struct("id", "md5", "file_ext", "file_size", pixel_hash="md5"),
                **urls,
            )
        )


@cache
def words(seed: int, count: int) -> pl.DataFrame:
    """Return the tags of posts as text, by category and all together."""
    table, every = vocabulary(), pl.DataFrame({"row": np.arange(count)})
    for number, (kind, (rows, places)) in enumerate(draw(seed, count).items()):
        names = table.filter(pl.col("type") == number)["name"]
        pairs = pl.DataFrame({"row": rows, "tag": names.gather(places)})
        joined = pairs.group_by("row", maintain_order=True).agg(pl.col("tag").str.join(" ").alias(f"tag_string_{kind}"))
        every = every.join(joined, on="row", how="left", maintain_order="left")
    every = every.drop("row").fill_null("")
    return every.with_columns(tag_string=pl.concat_str(pl.all(), separator=" "))


def chunks(total: int) -> Iterator[tuple[int, int]]:
    """Yield the first id and the count of each chunk."""
    for start in range(0, total, CHUNK):
        if start and start % TOLD == 0:
            print(f"  {start:,} posts drawn", file=sys.stderr, flush=True)
        yield start + 1, min(CHUNK, total - start)


SOURCES: MappingProxyType[str, tuple[str, Callable[[Path, int], None]]] = MappingProxyType(
    {"sqlite": ("danbooru.db", write_sqlite), "json": ("posts.jsonl", write_json)}
)


def run(source: Path, folder: Path) -> None:
    """Import one source in this process and print what it took."""
    path, kind = find(source, "auto")
    started, cpu = time.perf_counter(), time.process_time()
    tally = import_posts(path, kind, folder / "posts.parquet", config=PostsConfig(source=str(source)), progress=silent)
    row = {
        "posts": tally.read,
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "bytes": (folder / "posts.parquet").stat().st_size,
    }
    print(json.dumps(row))


def case(name: str, total: int, folder: Path) -> str:
    """Draw a source, import it in a process of its own, remove it, and return a row of the table."""
    file, write = SOURCES[name]
    source = folder / file
    print(f"{name}: drawing {total:,} posts ...", file=sys.stderr, flush=True)
    started = time.perf_counter()
    write(source, total)
    size = source.stat().st_size
    print(
        f"{name}: {size / 1e9:.1f} GB in {time.perf_counter() - started:.0f} s; importing", file=sys.stderr, flush=True
    )
    out = folder / f"{name}-out"
    out.mkdir()
    command = [sys.executable, "-m", "benchmarks.data_import", "--run", str(source), "--folder", str(out)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    row = json.loads(done.stdout)
    shutil.rmtree(out)
    source.unlink()
    goal = TARGET[name] * total / 10_000_000
    reached = "yes" if row["seconds"] <= goal and row["rss"] * 2**20 <= MEMORY else "no"
    line = (
        f"| {name} | {row['posts']:,} | {size / 1e9:.2f} | {goal:.0f} s, {MEMORY / 1e9:.0f} GB | {reached} |"
        f" {row['seconds']:.0f} s | {row['cpu']:.0f} s | {row['rss'] * 2**20 / 1e9:.2f} GB | {row['bytes'] / 1e9:.2f} |"
    )
    print(line, flush=True)
    return line


def main() -> None:
    """Run the cases asked for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[*SOURCES, []], help="all where none is named")
    parser.add_argument("--posts", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where there is room; a temporary folder where it is left out")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("data_import.md"))
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        run(args.run, args.folder)
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        rows = [case(name, args.posts, Path(folder)) for name in args.cases or SOURCES]
    head = (
        f"# Import of posts\n\n{machine()}; {len(os.sched_getaffinity(0))} cores; {datetime.date.today()};"
        f" `python -m benchmarks.data_import {' '.join(args.cases)}`\n\n"
        "| source | posts | GB | target on 2 cores | reached | time | CPU | peak memory | Parquet GB |\n"
        "|---|---:|---:|---|---|---:|---:|---:|---:|\n"
    )
    args.out.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
