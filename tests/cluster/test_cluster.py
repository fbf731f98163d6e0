"""The work on pictures, on the two workers of a Ray cluster on this machine: the bytes are those of threads."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from enogu.cli import main
from enogu.core.records.cluster import QUIET, Cluster
from enogu.core.records.errors import Failed

from .bodies import Squares

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
RECIPE = """
[recipe]
name = "small"
seed = 3

[machine]
threads = 1
device = "cpu"
cluster = "{address}"

[booru.drawn]
posts = 500

[posts.all]
booru = "drawn"

[sightings.seen]
posts = "all"
taggers = ["mini"]

[latents.small]
posts = "all"
model = "mini-sd1"
area = 4096
step = 8
batch = 4
flip = true
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Return the address of a head without CPUs and two workers with one each."""
    pytest.importorskip("daft", reason="the extra [cluster] is not installed")
    os.environ.update(QUIET)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])
    ray, cluster_utils = pytest.importorskip("ray"), pytest.importorskip("ray.cluster_utils")
    small: dict[str, Any] = {"object_store_memory": 200 << 20, "include_dashboard": False}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    for _ in range(2):
        cluster.add_node(num_cpus=1, **small)
    cluster.wait_for_nodes()
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give both workers something to do."""
    monkeypatch.setattr("enogu.core.records.cluster.GROUP", 32)


@dataclass(frozen=True)
class Place:
    """A folder with a drawn booru and a recipe; `alone` is what threads write there."""

    folder: Path
    alone: Mapping[str, bytes] = field(default_factory=dict)

    def recipe(self, address: str) -> str:
        """Write the recipe for a cluster, or for threads."""
        path = self.folder / "small.toml"
        path.write_text(RECIPE.format(address=address))
        return str(path)

    def stages(self) -> list[Path]:
        """Return the folders of the stages that may run on a cluster."""
        work = self.folder / "enogu-work" / "small"
        return [path for kind in ("posts-", "sightings-", "latents-") for path in work.glob(f"{kind}*")]

    def written(self) -> dict[str, bytes]:
        """Return their files but done.json, which holds times."""
        files = [path for stage in self.stages() for path in stage.glob("**/*") if path.is_file()]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files if path.name != "done.json"}

    def other(self) -> list[str]:
        """Return the names of files that are not those of threads."""
        here = self.written()
        return [name for name in sorted({*self.alone, *here}) if self.alone.get(name) != here.get(name)]

    def clear(self) -> None:
        """Forget what a cluster wrote."""
        for stage in self.stages():
            shutil.rmtree(stage)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place where threads have done all once."""
    place = Place(tmp_path_factory.mktemp("drawn"))
    assert main(["run", place.recipe("")]) == 0
    assert {name.split("-")[1].split("/")[-1] for name in place.written()} == {"posts", "sightings", "latents"}
    return Place(place.folder, place.written())


@pytest.fixture
def place(drawn: Place) -> Place:
    """Return it without the stages that threads did."""
    drawn.clear()
    return drawn


def workers() -> list[int]:
    """Return the processes that do the work of a query now."""
    listed = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if "ray::InMemory" in line]


def test_audit_tagging_and_encoding_write_the_bytes_of_threads(place: Place, address: str) -> None:
    assert main(["run", place.recipe(address)]) == 0
    assert place.other() == []


def test_killed_workers_change_nothing(place: Place, address: str) -> None:
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        while len(killed) < 2 and not over.wait(1):
            for pid in workers()[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        assert main(["run", place.recipe(address)]) == 0
    finally:
        over.set()
        killer.join()
    assert killed
    assert place.other() == []


def test_results_come_in_order_from_both_workers(address: str, tmp_path: Path) -> None:
    batches = [range(start, start + 32) for start in range(0, 6400, 32)]
    found = list(Cluster(address=address, threads=1, device="cpu").map(Squares(tmp_path), batches))
    assert [squares for squares, _ in found] == [[number**2 for number in batch] for batch in batches]
    assert len({pid for _, pid in found} - {os.getpid()}) == 2


def test_a_group_whose_worker_dies_is_done_by_another(address: str, tmp_path: Path) -> None:
    work = Squares(tmp_path, fatal=700, marker=tmp_path / "marker")
    found = Cluster(address=address, threads=1, device="cpu").map(work, [range(n, n + 64) for n in range(0, 2048, 64)])
    assert [square for squares, _ in found for square in squares] == [number**2 for number in range(2048)]
    assert (tmp_path / "marker").exists()


def test_what_kills_every_worker_fails(address: str, tmp_path: Path) -> None:
    cluster = Cluster(address=address, threads=1, device="cpu")
    with pytest.raises(Failed, match="3 workers died over the same pictures"):
        list(cluster.map(Squares(tmp_path, fatal=700), [range(n, n + 64) for n in range(0, 2048, 64)]))


def test_failures_come_back_in_words(address: str, tmp_path: Path) -> None:
    cluster = Cluster(address=address, threads=1, device="cpu")
    with pytest.raises(Failed, match="7 is bad"):
        list(cluster.map(Squares(tmp_path, bad=7), [[1], [7]]))
    assert list(cluster.map(Squares(tmp_path), [])) == []


def test_ctrl_c_ends_it_and_the_same_command_goes_on(place: Place, address: str) -> None:
    command = [sys.executable, "-m", "enogu", "run", place.recipe(address)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not workers() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "the same command goes on" in said) == (130, True)
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert place.other() == []


def test_a_cluster_that_is_not_there_is_named(place: Place) -> None:
    pytest.importorskip("daft", reason="the extra [cluster] is not installed")
    command = [sys.executable, "-m", "enogu", "run", place.recipe("127.0.0.1:9")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "posts.all: no Ray cluster answers at '127.0.0.1:9'" in ended.stderr
