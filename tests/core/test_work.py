"""Batches on threads: results in order, little taken ahead, nothing begun after an end; and without the extra."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from enogu.core.records import cluster
from enogu.core.records.errors import Failed, Refused
from enogu.core.records.job import Job
from enogu.core.records.work import AHEAD, Threads
from enogu.recipe.config import MachineConfig


class Doubles:
    """Doubles numbers, the even ones later than the odd ones that follow; `broken` raises."""

    reads = ()

    def __init__(self, broken: int = -1) -> None:
        self.broken, self.prepared = broken, list[int]()
        self._odd = threading.Semaphore(0)

    def prepare(self, number: int) -> int:
        if number % 2:
            self._odd.release()
        else:
            assert self._odd.acquire(timeout=10)
        if number == self.broken:
            raise OSError(f"{number} broke")
        self.prepared.append(number)
        return 2 * number

    def finish(self, batch: Sequence[int]) -> list[int]:
        return list(batch)


def test_results_come_in_the_order_of_the_batches() -> None:
    batches = [range(start, start + 4) for start in range(0, 40, 4)]
    assert list(Threads(2).map(Doubles(), batches)) == [[2 * number for number in batch] for batch in batches]
    assert list(Threads(2).map(Doubles(), [])) == []


def test_batches_are_taken_only_shortly_before_they_are_needed() -> None:
    taken: list[int] = []

    def batches() -> Iterator[list[int]]:
        for start in range(0, 400, 2):
            taken.append(start)
            yield [start, start + 1]

    results = Threads(2).map(Doubles(), batches())
    assert next(results) == [0, 2]
    assert len(taken) == AHEAD + 1
    results.close()  # type: ignore[attr-defined]
    assert len(taken) == AHEAD + 1


def test_an_error_comes_where_its_batch_would_and_ends_the_work() -> None:
    work = Doubles(broken=5)
    results = Threads(2).map(work, [[number, number + 1] for number in range(0, 400, 2)])
    assert [next(results), next(results)] == [[0, 2], [4, 6]]
    with pytest.raises(OSError, match="5 broke"):
        next(results)
    assert len(work.prepared) <= 2 * (AHEAD + 4)


def test_a_cluster_without_the_extra_is_refused_with_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(Refused, match=r"pip install 'enogu\[cluster\]'"):
        list(cluster.executor(Job(out=tmp_path, cluster="auto")).map(Doubles(), [[0, 1]]))
    assert cluster.executor(Job(out=tmp_path, threads=3)) == Threads(3)


@pytest.mark.parametrize("address", ["auto", "local", "10.0.0.1:6379", "head.example:6379", ""])
def test_addresses(address: str) -> None:
    assert MachineConfig(cluster=address).cluster == address


@pytest.mark.parametrize("address", ["head", "http://head:6379", "head:", "ray://head:10001"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(Refused, match="HOST:PORT"):
        MachineConfig(cluster=address)


def hand(folder: Path, **versions: str) -> cluster.Hand:
    work = cluster.pickle.dumps(Threads(1))
    return cluster.Hand(work=work, reads=(folder,), threads=1, tries="", versions=cluster._versions() | versions)


def test_a_worker_looks_before_it_begins(tmp_path: Path) -> None:
    (tmp_path / "mounted").mkdir()
    with pytest.raises(Failed, match=r"does not see .*mounted: mount it there"):
        hand(tmp_path / "mounted")._opened()  # a mount point where nothing is mounted
    with pytest.raises(Failed, match="does not see"):
        hand(tmp_path / "nowhere")._opened()
    with pytest.raises(Failed, match=r"has torch .*, not 1\.0"):
        hand(tmp_path, torch="1.0")._opened()
    assert hand(tmp_path)._opened() == Threads(1)


def test_groups_hold_whole_batches_in_order() -> None:
    batches = [[number] * (1 + number % 300) for number in range(500)]
    groups = [(number, cluster.pickle.loads(group)) for number, group in cluster._groups(batches)]
    assert [number for number, _ in groups] == list(range(len(groups)))
    assert [batch for _, group in groups for batch in group] == batches
    assert all(sum(map(len, group[:-1])) < cluster.GROUP for _, group in groups)
