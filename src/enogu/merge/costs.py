"""What a merge will cost: bytes, memory, and seconds at the rates that disk, hash and arithmetic show now."""

import hashlib
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from enogu.core.networks.direct import BLOCK_BYTES, BLOCKS, BlockWriter, DirectFile, room, room_for
from enogu.core.networks.folder import files_of
from enogu.merge.algebra import Adapted, Applied, Combination, Node
from enogu.merge.computation import PIECE, Computation, one_thread_each
from enogu.merge.engine import memory_for
from enogu.merge.evaluate import Cut, cuts, surveying, unit
from enogu.merge.inputs import Input, open_inputs
from enogu.merge.plan import KeyPlan, Plan
from enogu.merge.slabs import Part

PROBE_BLOCKS = 8  # read, hashed and written to learn the rates: 64 MiB, a tenth of a second
SAMPLE = 1 << 20  # elements of a tensor whose arithmetic is timed
PROGRAM = 280 << 20  # Python, torch, and what their allocators keep of what was used
COMPILER = 150 << 20  # of the loops that methods are made of, while it compiles them
WIDE = 8  # bytes of an element at work, in double precision


@dataclass(frozen=True)
class Costs:
    """An estimate; rates in bytes per second, `write_rate` 0 where no place to write was named."""

    read_bytes: int
    write_bytes: int
    read_rate: float
    write_rate: float
    hash_rate: float
    compute_seconds: float
    peak_bytes: int
    free_bytes: int

    @property
    def seconds(self) -> float:
        """Return the time: the slower of disk and processor, then the hash of the finished file."""
        disk = self.read_bytes / self.read_rate + self.write_bytes / (self.write_rate or self.read_rate)
        hashing = (self.read_bytes + self.write_bytes) / self.hash_rate
        return max(disk, (hashing + self.compute_seconds) / 2) + self.write_bytes / self.hash_rate

    def told(self) -> dict[str, float]:
        """Return the figures by name."""
        return {**asdict(self), "seconds": self.seconds}

    def text(self) -> str:
        """Return one line."""
        written = f", writes at {_mib(self.write_rate)}/s" if self.write_rate else ""
        return (
            f"reads {_mib(self.read_bytes)} at {_mib(self.read_rate)}/s{written}, hashes at {_mib(self.hash_rate)}/s: "
            f"about {self.seconds:.0f} s, at most {_mib(self.peak_bytes)} of memory"
        )


def costs(plan: Plan, files: Mapping[str, Path], out: Path | None, *, threads: int) -> Costs:
    """Measure rates for a moment and estimate what a plan will take."""
    paths = list(dict.fromkeys(file for name in plan.sources for file in files_of(files[name])))
    largest = max(paths, key=lambda path: path.stat().st_size)
    read_rate, hash_rate = _read_rates(largest)
    folder = out.parent if out and out.parent.is_dir() else None
    return Costs(
        read_bytes=sum(path.stat().st_size for path in paths) * (2 if _surveys(plan) else 1),
        write_bytes=plan.out_bytes,
        read_rate=read_rate,
        write_rate=_write_rate(folder) if folder else 0.0,
        hash_rate=hash_rate,
        compute_seconds=_compute_seconds(plan, files),
        peak_bytes=peak_bytes(plan, threads),
        free_bytes=shutil.disk_usage(folder or Path()).free,
    )


def peak_bytes(plan: Plan, threads: int) -> int:
    """Return the most memory that a merge of a plan takes, the program itself included."""
    merged = [item for item in plan.kept.values() if item.action == "merged"]
    work = max((_at_work(item) for item in merged), default=0)
    program = PROGRAM + COMPILER * any(_calls(item.result) for item in merged)
    return program + memory_for(plan) + (BLOCKS + 2) * BLOCK_BYTES + threads * work


def _at_work(item: KeyPlan) -> int:
    """Return what one thread holds of a tensor: the elements that stay together, once per value, and candidates."""
    together = min(max(unit(item.result, item.spec.shape), PIECE), max(math.prod(item.spec.shape), 1))
    values = max(_values(item.result, set()), 1)
    candidates = math.prod(item.spec.shape) // 64 * values  # of a selection: what a bracket and a sample hold
    return WIDE * (together * (values + 6) + candidates)


def _values(combination: Combination, seen: set[Node]) -> int:
    """Return how many values are held at once; `seen` are calls whose result is there."""
    count = 0
    for node, _ in combination.terms:
        if isinstance(node, Applied) and node not in seen:
            seen.add(node)
            count += sum(_values(tensor, seen) for tensor in node.tensors)
        else:
            count += 1 + isinstance(node, Adapted)
    return count


def _calls(combination: Combination) -> bool:
    return any(isinstance(node, Applied) for node, _ in combination.terms)


def _surveys(plan: Plan) -> bool:
    return any(surveying(item.result) for item in plan.kept.values())


def _read_rates(path: Path) -> tuple[float, float]:
    digest, memory = hashlib.sha256(), room(room_for(BLOCK_BYTES))
    with DirectFile(path) as file:
        stop = min(PROBE_BLOCKS * BLOCK_BYTES, file.size)
        started = time.perf_counter()
        for start in range(0, stop, BLOCK_BYTES):
            file.read(start, min(start + BLOCK_BYTES, stop), memory)
        reading = max(time.perf_counter() - started, 1e-9)
    hashing = _seconds(lambda: digest.update(memory[: min(stop, BLOCK_BYTES)]))
    return stop / reading, min(stop, BLOCK_BYTES) / hashing


def _write_rate(folder: Path) -> float:
    size = PROBE_BLOCKS * BLOCK_BYTES
    block = room(BLOCK_BYTES)

    def write(path: Path) -> None:
        writer = BlockWriter(path, size=size, skip=size)
        try:
            for _ in range(PROBE_BLOCKS):
                writer.append(block)
            writer.finish()
            writer.replace(b"")
        finally:
            writer.close()

    with tempfile.TemporaryDirectory(prefix=".enogu-probe-", dir=folder) as probe:
        return size / _seconds(lambda: write(Path(probe) / "probe"))


def _compute_seconds(plan: Plan, files: Mapping[str, Path]) -> float:
    """Time the largest small tensor of each kind of value, with its reads from the page cache, and scale it up."""
    kinds: dict[str, list[KeyPlan]] = {}
    for item in plan.kept.values():
        if item.action == "merged" and 0 not in item.spec.shape:
            kinds.setdefault(_kind(item.result), []).append(item)
    total = 0.0
    with open_inputs({name: files[name] for name in plan.sources}) as readers:
        sizes = [{item.key: math.prod(item.spec.shape) for item in items} for items in kinds.values()]
        keys = [max(each, key=partial(_aptness, each)) for each in sizes]
        computation = Computation(plan).surveyed(readers, keys=keys)
        for key, each in zip(keys, sizes, strict=True):
            _run(computation, key, readers)  # the first look fills the cache
            seconds = _seconds(partial(_run, computation, key, readers))
            total += seconds * sum(each.values()) / each[key]
    return total


def _aptness(sizes: Mapping[str, int], key: str) -> tuple[bool, int]:
    return sizes[key] <= SAMPLE, sizes[key] * (1 if sizes[key] <= SAMPLE else -1)


def _run(computation: Computation, key: str, readers: Mapping[str, Input]) -> None:
    item = computation.plan.kept[key]
    count = math.prod(item.spec.shape)
    pieces = [Cut(*ends, readers) for ends in cuts(0, count, computation.step(item))]
    with one_thread_each():
        evaluation = computation.measured(item, computation.passes(item, lambda: iter(pieces)))
        memory = room(count * item.spec.dtype.itemsize)
        computation.fill(Part(item, 0, count), iter(pieces), evaluation, memory=memory)


def _kind(combination: Combination) -> str:
    """Return what decides how long a value takes: methods and how many terms, not which models or factors."""
    return "+".join(
        f"{node.method.name}({','.join(map(_kind, node.tensors))})" if isinstance(node, Applied) else "m"
        for node, _ in combination.terms
    )


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return max(time.perf_counter() - started, 1e-9)


def _mib(count: float) -> str:
    return f"{count / 2**20:,.0f} MiB"
