"""Several processes at one folder, records of a neighbouring folder, repair, margins."""

import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from enogu.core.records.shards import Shards, left_over
from enogu.latents.claims import Claims

if TYPE_CHECKING:
    from conftest import Bench

SCRIPT = """
    import sys
    from pathlib import Path
    from types import SimpleNamespace
    sys.path.insert(0, sys.argv[2])
    from conftest import Bench, tiny_vae
    from enogu.latents import moments
    moments.load_model = lambda path, device="cpu": SimpleNamespace(vae=tiny_vae())
    bench = Bench(Path(sys.argv[1]))
    print("ready", flush=True)
    {work}
"""
RUN = 'print(bench.run("shared", flip=True)["encoded"])'
ASSIST = 'print(bench.assist("shared", flip=True)["encoded"])'


def start(bench: "Bench", work: str) -> subprocess.Popen[bytes]:
    script = textwrap.dedent(SCRIPT).format(work=work)
    command = [sys.executable, "-c", script, str(bench.folder), str(Path(__file__).parent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def records(bench: "Bench", out: str) -> dict[tuple[int, bool], tuple[str, int]]:
    """Return key and checksum of every (post, flipped)."""
    rows = pl.read_parquet(bench.folder / out / "index.parquet").select("post", "flipped", "key", "checksum").rows()
    return {(post, flipped): (key, checksum) for post, flipped, key, checksum in rows}


def test_processes_at_one_folder_make_what_one_makes_alone(zoo: "Bench") -> None:
    processes = [start(zoo, work) for work in (ASSIST, RUN, ASSIST)]
    encoded = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    zoo.run("apart/alone", flip=True)
    assert records(zoo, "shared") == records(zoo, "apart/alone")
    assert zoo.skipped("shared") == zoo.skipped("apart/alone")
    assert Shards(zoo.folder / "shared").verify() == []
    assert sum(encoded) == len(set(records(zoo, "shared").values()))  # nothing was encoded twice


def test_what_a_killed_assistant_held_is_taken_over(zoo: "Bench") -> None:
    process = start(zoo, ASSIST)
    time.sleep(0.25)
    process.send_signal(signal.SIGKILL)
    process.wait()
    zoo.run("shared", flip=True)
    zoo.run("apart/alone", flip=True)
    assert records(zoo, "shared") == records(zoo, "apart/alone")
    names = {path.name for path in (zoo.folder / "shared").iterdir()} - {
        path.name for path in (zoo.folder / "shared").glob("shard-*.bin")
    }
    assert names == {"index.parquet", "buckets.json", "skipped.jsonl", "writers"}


HOLD = """
import sys
from pathlib import Path
from enogu.latents.claims import Claims
with Claims(Path(sys.argv[1])) as claims:
    claims.finish(claims.first())
    print(claims.first(), claims.take(5), flush=True)
    sys.stdin.read()
"""


def test_a_claim_lasts_as_long_as_its_process(tmp_path: Path) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "claims")], **pipes)
    assert process.stdout is not None
    assert process.stdout.readline() == b"1 True\n"
    with Claims(tmp_path / "claims") as claims:
        assert [claims.take(number) for number in (0, 1, 2, 5)] == [False, False, True, False]
        process.kill()
        process.communicate()
        assert [claims.take(number) for number in (0, 1, 5)] == [False, True, True]
        assert claims.finished(8).tolist() == [True] + [False] * 7


def test_adding_posts_encodes_the_new_ones_in_a_folder_of_their_own(bench: "Bench") -> None:
    """As a recipe does it: other posts are another stage, in another folder beside the first."""
    bench.draw(12)
    bench.freeze()
    assert bench.run("first", flip=True)["encoded"] == 24
    before = bench.contents("first")
    bench.draw(5, start=12)
    bench.freeze()
    summary = bench.run("second", flip=True)
    assert (summary["encoded"], summary["records"]) == (10, 34)
    assert bench.run("third", flip=True)["encoded"] == 0
    for out in ("second", "third"):
        assert Shards(bench.folder / out).verify() == []
    assert bench.contents("first") == before
    assert bench.run("smaller", flip=True, area=32 * 32)["encoded"] == 34  # another recipe shares nothing
    bench.run("straight", margin=16)
    assert bench.run("both", margin=16, flip=True)["encoded"] == 17  # the mirror images
    shared = {path.stat().st_ino for path in (bench.folder / "first").glob("shard-*.bin")}
    assert shared <= {path.stat().st_ino for path in (bench.folder / "second").glob("shard-*.bin")}


def test_records_that_only_another_folder_wanted_stay_known(bench: "Bench") -> None:
    """Whoever opts out must be found in every folder that has a link to the shard."""
    bench.draw(12)
    bench.freeze()
    bench.run("first")
    manifest = bench.manifest
    manifest[::2].write_parquet(bench.folder / "posts" / "manifest.parquet")
    assert bench.run("second")["encoded"] == 0
    assert Shards(bench.folder / "second").index["post"].to_list() == list(range(0, 12, 2))
    assert left_over(bench.folder / "second").is_empty()
    shutil.rmtree(bench.folder / "first")
    left = set(left_over(bench.folder / "second")["post"])  # but of buckets that nobody here wants
    assert left
    assert left <= set(range(1, 12, 2))
    manifest.write_parquet(bench.folder / "posts" / "manifest.parquet")
    assert bench.run("third")["encoded"] == 6 - len(left)
    assert Shards(bench.folder / "third").verify() == []


def test_a_damaged_record_is_found_forgotten_and_made_again(bench: "Bench") -> None:
    bench.draw(12)
    bench.freeze()
    bench.run("one")
    bench.run("two")  # has the same shards, and must not give the damaged record back
    good = records(bench, "one")
    path = sorted((bench.folder / "one").glob("shard-*.bin"))[0]
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
    shards = Shards(bench.folder / "one")
    (problem,) = shards.verify()
    assert path.name in problem
    shards.forget(shards.damaged())
    assert len(Shards(bench.folder / "one").index) == 11
    assert bench.run("one")["encoded"] == 1
    assert {post: key for post, (key, _) in records(bench, "one").items()} == {
        post: key for post, (key, _) in good.items()
    }
    assert Shards(bench.folder / "one").verify() == []


def test_records_with_a_margin_are_cropped_when_read(bench: "Bench") -> None:
    bench.draw(12)
    bench.freeze()
    bench.run("wide", margin=32)
    shards = Shards(bench.folder / "wide")
    row = np.array([3])
    width, height = shards.index.select("width", "height").row(3)
    middle = shards.read(row)
    assert middle.shape == (1, 8, height // 8, width // 8)
    corners = {(left, top): shards.read(row, corners=np.array([[left, top]]))[0] for left in (0, 2) for top in (0, 4)}
    assert np.array_equal(shards.read(row, corners=np.array([[2, 2]])), middle)
    assert np.array_equal(corners[0, 4][:, :-2, 2:], shards.read(row, corners=np.array([[2, 6 - 2]]))[0][:, :-2, :-2])
    crop = shards.index.row(3, named=True)
    assert (crop["crop_left"] >= 16, crop["crop_top"] >= 16) == (True, True)


@pytest.mark.slow
def test_kill_9_at_fifty_random_moments_loses_no_record(zoo: "Bench") -> None:
    zoo.draw(60, start=30)
    zoo.freeze()
    zoo.run("apart/alone", flip=True)
    whole = records(zoo, "apart/alone")
    for moment in np.random.default_rng(time.time_ns()).uniform(0, 0.6, size=50):
        process = start(zoo, RUN)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert zoo.run("shared", flip=True)["records"] == len(whole)
    assert records(zoo, "shared") == whole
    assert Shards(zoo.folder / "shared").verify() == []
