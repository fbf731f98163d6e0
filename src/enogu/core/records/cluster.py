"""Work on batches on the machines of a Ray cluster, by Daft: the same function of the same batches, in their order.

A Ray worker opens the work once and takes one group of batches after another, each as core/records/work.py does on
threads. The results come back to whoever asked, who alone writes. Needs the extra `[cluster]`; see docs/cluster.md.
"""

import logging
import os
import pickle
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from itertools import count, islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from enogu import __version__
from enogu.core.records.errors import Failed, Refused
from enogu.core.records.job import Job
from enogu.core.records.work import Executor, Item, Ready, Result, Threads, Work

GROUP = 256  # items that a worker takes at a time
WAVE = 8  # groups per worker in one query: at its end some wait for the last, so not too few
TRIES = 3  # of a group whose worker dies
KNOCK_SECONDS = 10.0
NAMESPACE = "enogu"
QUIET = {  # no reports of usage; read when Daft and Ray are imported, here and on every worker
    "DO_NOT_TRACK": "1",
    "SCARF_NO_ANALYTICS": "1",
    "DAFT_ANALYTICS_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_DASHBOARD": "1",  # else Daft asks Ray for its address
    "DAFT_PROGRESS_BAR": "0",
}
SHAPING = ("numpy", "onnxruntime", "opencv-python-headless", "pillow", "torch")  # another version, other bytes


def executor(job: Job) -> Executor:
    """Return where the work of a job is done."""
    return Cluster(address=job.cluster, threads=job.threads, device=job.device) if job.cluster else Threads(job.threads)


def require() -> None:
    """Refuse to go on without the extra."""
    if not (find_spec("daft") and find_spec("ray")):
        raise Refused("machine.cluster: Daft and Ray are not installed here; pip install 'enogu[cluster]'")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The workers of the Ray cluster at an address, each with so many threads; on CUDA, each with one GPU."""

    address: str
    threads: int
    device: str

    def map(self, work: Work[Item, Ready, Result], batches: Iterable[Sequence[Item]]) -> Iterator[Result]:
        """Yield the result of every batch, in order; a group whose worker dies is done by another."""
        ray = self._connected()
        threads, workers = self._workers(ray.nodes())
        tries = f"tries-{uuid4()}"
        keeper = ray.remote(num_cpus=0, max_restarts=-1)(Tries).options(name=tries, namespace=NAMESPACE).remote()
        reads = tuple(path for path in work.reads if _seen(path))
        hand = Hand(work=pickle.dumps(work), reads=reads, threads=threads, tries=tries, versions=_versions())
        groups = _groups(batches)
        try:
            while wave := list(islice(groups, WAVE * workers)):
                yield from self._wave(hand, wave)
        finally:
            ray.kill(keeper)

    def _connected(self) -> Any:
        """Return Ray, connected, and have Daft use it."""
        require()
        os.environ.update(QUIET)
        import daft
        import ray

        if not ray.is_initialized():
            environment = {"env_vars": {**QUIET, "OMP_NUM_THREADS": str(self.threads)}}
            try:
                self._knock()
                ray.init(self.address, runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR)
            except (OSError, RuntimeError, ValueError) as error:
                raise Failed(f"no Ray cluster answers at {self.address!r}: {error}") from error
        daft.set_runner_ray(noop_if_initialized=True)
        return ray

    def _knock(self) -> None:
        """Find out in seconds, where Ray would try for minutes, that nobody listens."""
        host, _, port = self.address.rpartition(":")
        if host:
            socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()

    def _workers(self, nodes: Iterable[dict[str, Any]]) -> tuple[int, int]:
        """Return how many threads a worker has, and how many work at once."""
        needed = "GPU" if self.device == "cuda" else "CPU"
        found = [node["Resources"] for node in nodes if node["Alive"] and node["Resources"].get(needed, 0) >= 1]
        if not found:
            raise Failed(f"the Ray cluster at {self.address!r} has no worker with a {needed}: ray start --address=...")
        threads = min(self.threads or os.cpu_count() or 1, *(int(one.get("CPU", 1)) for one in found))
        return threads, sum(int(one["GPU"] if needed == "GPU" else one["CPU"] // threads) for one in found)

    def _wave(self, hand: "Hand", groups: Sequence[tuple[int, bytes]]) -> Iterator[Any]:
        import daft
        import ray

        @daft.func.batch(  # type: ignore[untyped-decorator]
            return_dtype=daft.DataType.binary(),
            use_process=False,  # one process per Ray worker, whose death Daft survives
            cpus=hand.threads,
            gpus=1 if self.device == "cuda" else 0,
        )
        def do(numbers: Any, pickled: Any) -> list[bytes]:
            return [hand(*group) for group in zip(numbers.to_pylist(), pickled.to_pylist(), strict=True)]

        numbers, pickled = zip(*groups, strict=True)
        frame = daft.from_pydict({"number": list(numbers), "group": list(pickled)}).into_partitions(len(groups))
        frame = frame.select("number", do(daft.col("number"), daft.col("group")).alias("results"))
        ready: dict[int, bytes] = {}
        expected = iter(numbers)
        following = next(expected, None)
        for part in frame.iter_partitions():
            table = ray.get(part).to_pydict()
            ready |= zip(table["number"], table["results"], strict=True)
            while following in ready:
                yield from _unpacked(ready.pop(following))
                following = next(expected, None)


@dataclass(frozen=True, kw_only=True)
class Hand:
    """What travels to the workers and does a group of batches there."""

    work: bytes
    reads: tuple[Path, ...]
    threads: int
    tries: str
    versions: dict[str, str]

    def __call__(self, number: int, group: bytes) -> bytes:
        """Return the pickled results, or the pickled error that tells the maker what to do."""
        try:
            self._begin(number)
            return pickle.dumps(list(Threads(self.threads).map(self._opened(), pickle.loads(group))))
        except (Refused, Failed) as error:
            return pickle.dumps(error)

    def _begin(self, number: int) -> None:
        import ray

        begun = ray.get(ray.get_actor(self.tries, namespace=NAMESPACE).begin.remote(number))
        if begun > TRIES:
            raise Failed(f"{TRIES} workers died over the same pictures: too little memory, or a picture that kills")

    def _opened(self) -> Work[Any, Any, Any]:
        host, here = socket.gethostname(), _versions()
        for name, wanted in self.versions.items():
            if here[name] != wanted:
                raise Failed(f"the worker on {host} has {name} {here[name]}, not {wanted}: the bytes might differ")
        for path in self.reads:
            if not _seen(path):
                raise Failed(f"the worker on {host} does not see {path}: mount it there under the same path")
        return _open(self.work)


class Tries:
    """An actor that counts how often each group was begun; Daft itself would go on for ever."""

    def __init__(self) -> None:
        """Count from nothing."""
        self._begun: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        """Return how often this group was begun, now included."""
        self._begun[number] += 1
        return self._begun[number]


@lru_cache(maxsize=1)
def _open(work: bytes) -> Work[Any, Any, Any]:
    """Open models once in the life of a worker."""
    opened: Work[Any, Any, Any] = pickle.loads(work)
    return opened


def _seen(path: Path) -> bool:
    """Tell whether a path is there; a folder where nothing is mounted is empty."""
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))


def _groups(batches: Iterable[Sequence[Any]]) -> Iterator[tuple[int, bytes]]:
    rest = iter(batches)
    for number in count():
        group: list[Sequence[Any]] = []
        while sum(map(len, group)) < GROUP and (batch := next(rest, None)) is not None:
            group.append(batch)
        if not group:
            return
        yield number, pickle.dumps(group)


def _unpacked(results: bytes) -> Any:
    found = pickle.loads(results)
    if isinstance(found, Exception):
        raise found
    return found


def _versions() -> dict[str, str]:
    return {"enogu": __version__, **{name: version(name) for name in SHAPING}}
