"""Shards: what is written is read, what is damaged is found, and a kill at any moment loses no finished record."""

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from xxhash import xxh3_64_intdigest

from enogu.core.records.errors import Failed, Refused
from enogu.core.records.journal import SCHEMA, Entry
from enogu.core.records.shards import Shards, ShardWriter

SHAPES = ((64, 64), (32, 128), (96, 40))


def entry(post: int, shape: tuple[int, int] = (64, 64), *, flipped: bool = False) -> Entry:
    return Entry(
        post=post, width=shape[0], height=shape[1], flipped=flipped, key=f"{post}-{flipped}",
        original_width=2 * shape[0], original_height=2 * shape[1], crop_left=0, crop_top=0,
    )  # fmt: skip


def record(post: int, shape: tuple[int, int] = (64, 64)) -> np.ndarray:
    return np.random.default_rng(post).normal(size=(8, shape[1] // 8, shape[0] // 8)).astype(np.float16)


def write(folder: Path, posts: range, *, commit: int = 4, shard_bytes: int = 1 << 30) -> ShardWriter:
    """Write posts of alternating shapes that are not there yet, as a stage would."""
    writer = ShardWriter(folder, shard_bytes=shard_bytes)
    stored = set(writer.stored()["post"])
    for start in range(posts.start, posts.stop, commit):
        new = [post for post in range(start, min(start + commit, posts.stop)) if post not in stored]
        shapes = [SHAPES[post % 3] for post in new]
        writer.append(
            [entry(post, shape) for post, shape in zip(new, shapes, strict=True)],
            [record(post, shape) for post, shape in zip(new, shapes, strict=True)],
        )
    return writer


def finished(folder: Path, posts: range, **options: int) -> Shards:
    writer = write(folder, posts, **options)
    writer.finish(writer.stored())
    return Shards(folder)


def assert_whole(shards: Shards, posts: range) -> None:
    assert shards.index["post"].to_list() == list(posts)
    assert shards.verify() == []
    for row, post in enumerate(posts):
        assert np.array_equal(shards.read(np.array([row]))[0], record(post, SHAPES[post % 3]))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    shards = finished(tmp_path, range(30))
    assert dict(pl.read_parquet_schema(tmp_path / "index.parquet")) == SCHEMA
    assert set(SCHEMA) - set(shards.index.columns) == {"key", "checksum"}
    assert_whole(shards, range(30))
    rows = np.flatnonzero(shards.index["width"] == 32)[::-1]
    expected = [record(post, (32, 128)) for post in shards.index["post"].to_numpy()[rows]]
    assert np.array_equal(shards.read(rows), expected)
    assert not (tmp_path / "journal-0.jsonl").exists()


def test_the_format_is_what_its_description_says(tmp_path: Path) -> None:
    """Read with numpy alone."""
    finished(tmp_path, range(12))
    for row in pl.read_parquet(tmp_path / "index.parquet").iter_rows(named=True):
        data = (tmp_path / row["shard"]).read_bytes()[row["offset"] : row["offset"] + row["nbytes"]]
        found = np.frombuffer(data, "<f2").reshape(-1, row["height"] // 8, row["width"] // 8)
        assert np.array_equal(found, record(row["post"], (row["width"], row["height"])))
        assert xxh3_64_intdigest(data) == row["checksum"]
        assert row["shard"] == f"shard-{row['width']:04}x{row['height']:04}-0-00000.bin"
        assert row["offset"] % row["nbytes"] == 0


def test_an_empty_commit_leaves_nothing(tmp_path: Path) -> None:
    writer = write(tmp_path, range(3))
    writer.append([], [])
    assert writer.stored()["post"].to_list() == [0, 1, 2]


def test_shards_are_capped(tmp_path: Path) -> None:
    shards = finished(tmp_path, range(30), shard_bytes=3500)
    sizes = [path.stat().st_size for path in tmp_path.glob("shard-*.bin")]
    assert max(sizes) <= 3500
    assert len(sizes) > 6
    assert_whole(shards, range(30))


def test_rows_of_several_buckets_are_not_read_together(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="of 2"):
        finished(tmp_path, range(6)).read(np.array([0, 1]))


def test_an_unfinished_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    with pytest.raises(Refused, match=r"no index\.parquet"):
        Shards(tmp_path)


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    finished(tmp_path, range(9))
    for path in sorted(tmp_path.glob("shard-*.bin")):
        data = path.read_bytes()
        for position in (0, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
            (problem,) = Shards(tmp_path).verify()
            assert path.name in problem
        path.write_bytes(data)
    assert Shards(tmp_path).verify() == []


def test_a_record_that_is_not_what_was_written_is_not_read(tmp_path: Path) -> None:
    finished(tmp_path, range(9))
    path = min(tmp_path.glob("shard-*.bin"))
    data, rows = path.read_bytes(), Shards(tmp_path).columns("shard")["shard"].to_list()
    mine = np.array([row for row, shard in enumerate(rows) if shard == path.name])
    last = len(data) // len(mine) * (len(mine) - 1)
    for broken in (data[:-1] + bytes([data[-1] ^ 1]), data[:-1]):
        path.write_bytes(broken)
        shards = Shards(tmp_path)
        assert len(shards.read(mine[:-1])) == len(mine) - 1
        with pytest.raises(Failed, match=rf"{path.name}: the record at byte {last} .*enogu latents verify {tmp_path}"):
            shards.read(mine)


def test_missing_and_short_shards_are_found(tmp_path: Path) -> None:
    finished(tmp_path, range(9))
    first, second, _ = sorted(tmp_path.glob("shard-*.bin"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    assert len(Shards(tmp_path).verify()) == 3 + 1


def test_more_posts_are_appended_and_nothing_is_written_again(tmp_path: Path) -> None:
    finished(tmp_path, range(20))
    before = {path: path.read_bytes() for path in tmp_path.glob("shard-*.bin")}
    shards = finished(tmp_path, range(35))
    assert_whole(shards, range(35))
    assert all(path.read_bytes().startswith(data) for path, data in before.items())


def test_the_index_may_leave_records_out(tmp_path: Path) -> None:
    writer = write(tmp_path, range(10))
    writer.finish(writer.stored().filter(pl.col("post") % 2 == 0))
    assert Shards(tmp_path).index["post"].to_list() == [0, 2, 4, 6, 8]
    assert Shards(tmp_path).verify() == []
    assert_whole(finished(tmp_path, range(10)), range(10))


@pytest.mark.parametrize("name", ["journal-0.jsonl", "shard-0064x0064-0-00000.bin", "shard-0032x0128-0-00000.bin"])
def test_a_run_cut_at_any_byte_goes_on_to_the_same_records(tmp_path: Path, name: str) -> None:
    """The file ends where a kill or a power cut left it; nothing behind is trusted, nothing before is lost."""
    write(tmp_path / "whole", range(12))
    data = (tmp_path / "whole" / name).read_bytes()
    for number, cut in enumerate(range(0, len(data), max(1, len(data) // 11))):
        folder = tmp_path / str(number)
        write(folder, range(12))
        (folder / name).write_bytes(data[:cut])
        assert_whole(finished(folder, range(15)), range(15))


def test_rubbish_where_a_power_cut_lost_pages_is_encoded_again(tmp_path: Path) -> None:
    write(tmp_path, range(12))
    path = tmp_path / "shard-0064x0064-0-00000.bin"
    data = path.read_bytes()
    path.write_bytes(data[:-1024] + bytes(1024))
    assert 9 not in ShardWriter(tmp_path).stored()["post"]
    assert_whole(finished(tmp_path, range(12)), range(12))


def test_a_commit_is_all_or_nothing(tmp_path: Path) -> None:
    """Twelve records in commits of four, the journal cut anywhere: whole commits are left."""
    write(tmp_path / "whole", range(12))
    data = (tmp_path / "whole" / "journal-0.jsonl").read_bytes()
    for number, cut in enumerate(range(0, len(data), len(data) // 17)):
        write(tmp_path / str(number), range(12))
        (tmp_path / str(number) / "journal-0.jsonl").write_bytes(data[:cut])
        assert len(ShardWriter(tmp_path / str(number)).stored()) % 4 == 0


def test_half_written_files_are_swept_up(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    (tmp_path / ".index.parquet.0badf00d.part").write_bytes(b"half")
    (tmp_path / ".journal-0.jsonl.0badf00d.part").write_bytes(b"half")
    (tmp_path / "shard-0008x0008-0-00000.bin").write_bytes(b"never committed")
    writer = ShardWriter(tmp_path)
    writer.finish(writer.stored())
    assert {path.name for path in tmp_path.iterdir()} == {
        "index.parquet",
        *(f"shard-{w:04}x{h:04}-0-00000.bin" for w, h in SHAPES),
    }


def test_a_full_disk_is_a_plain_failure_that_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = write(tmp_path, range(8))

    def full(path: Path, data: bytes) -> None:
        with path.open("ab") as handle:
            handle.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        writer.append([entry(8)], [record(8)])
    assert ShardWriter(tmp_path).stored()["post"].to_list() == list(range(8))
    assert_whole(finished(tmp_path, range(12)), range(12))


SCRIPT = """
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[2])
    from test_shards import finished
    print("ready", flush=True)
    finished(Path(sys.argv[1]), range(4000), commit=3, shard_bytes=1 << 18)
"""


def test_kill_9_at_random_moments_loses_no_record(tmp_path: Path) -> None:
    """Killed again and again until it ends by itself; then the folder is byte for byte that of a quiet run."""
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(tmp_path / "killed"), str(Path(__file__).parent)]
    moments = np.random.default_rng(time.time_ns()).uniform(0, 0.4, size=5)
    stored = 0
    for moment in [*moments, 60.0]:
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert process.returncode in (0, -signal.SIGKILL)
        if process.returncode == -signal.SIGKILL:
            left = len(ShardWriter(tmp_path / "killed").stored())
            assert left >= stored
            stored = left
    finished(tmp_path / "quiet", range(4000), commit=3, shard_bytes=1 << 18)
    contents = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("killed", "quiet")]
    assert contents[0] == contents[1]
    assert Shards(tmp_path / "killed").verify() == []
