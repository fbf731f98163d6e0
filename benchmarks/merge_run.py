"""One merge, timed alone in its process: `python -m benchmarks.merge_run WAY CASE FILE...`; prints JSON."""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.side_by_side import peak_bytes

READ_BYTES = 8 << 20


def floor(case: dict[str, Any], files: list[Path], out: Path) -> Callable[[], object]:
    """Read every input once and write as many bytes as the result has, front to back, as cp does."""

    def work() -> None:
        with out.open("wb", buffering=0) as sink:
            for number, file in enumerate(files):
                with file.open("rb", buffering=0) as source:
                    while chunk := source.read(READ_BYTES):
                        if number == 0:
                            sink.write(chunk)
            os.fsync(sink.fileno())

    return work


def enogu(case: dict[str, Any], files: list[Path], out: Path, *, known: Sequence[Path] = ()) -> Callable[[], object]:
    """Merge with enogu, all hashes included but those of parents that were hashed before."""
    from enogu.core.records.known_hashes import KnownHashes, mark_of
    from enogu.merge.config import MergeConfig
    from enogu.merge.costs import peak_bytes as peak_bytes_of
    from enogu.merge.stage import merge

    config = MergeConfig(formula=case["enogu"], vae="formula", text="formula")
    named = {f"m{number}": file for number, file in enumerate(files)}
    threads = os.cpu_count() or 1
    hashes = KnownHashes()
    for file in known:
        hashes.note(file, mark_of(file), "0" * 64)

    def work() -> None:
        plan, _ = merge(config, named, out, threads=threads, known=hashes)
        print(f"at most {peak_bytes_of(plan, threads) >> 20:,} MiB were foreseen", file=sys.stderr)

    return work


def again(case: dict[str, Any], files: list[Path], out: Path) -> Callable[[], object]:
    """Merge with enogu from parents whose hashes it knows, as from the second merge on."""
    return enogu(case, files, out, known=files)


def unhashed(case: dict[str, Any], files: list[Path], out: Path) -> Callable[[], object]:
    """Merge with enogu with every hash taken out."""
    from enogu.core.networks import direct
    from enogu.merge import fingerprint

    class Nothing:
        def __init__(self, streams: int = 1) -> None:
            self._streams = streams

        def update(self, data: object) -> None: ...
        def hexdigest(self) -> str:
            return "0" * 64

        def hexdigests(self) -> list[str]:
            return [self.hexdigest()] * self._streams

    class Hashes:
        sha256 = Nothing

    direct.hashlib = Hashes
    fingerprint.digests = Nothing
    return enogu(case, files, out)


def mecha(case: dict[str, Any], files: list[Path], out: Path) -> Callable[[], object]:
    """Merge with sd-mecha, in its default settings but for the dtype of the result."""
    import sd_mecha
    import torch

    models = [sd_mecha.model(file) for file in files]
    recipe = eval(case["mecha"], {"m": models, "sd": sd_mecha})
    return lambda: sd_mecha.merge(recipe, output=out, output_dtype=torch.float16)


def forget(file: Path) -> None:
    """Drop a file from the page cache, so that every way meets a cold disk."""
    if hasattr(os, "posix_fadvise"):
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    """Run one way of one case and print its cost."""
    way, case, files = sys.argv[1], json.loads(sys.argv[2]), [Path(word) for word in sys.argv[3:]]
    out = files[0].with_name("out.safetensors")
    out.unlink(missing_ok=True)
    for file in files:
        forget(file)
    work = {"floor": floor, "enogu": enogu, "again": again, "unhashed": unhashed, "mecha": mecha}[way](case, files, out)
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    try:
        work()
    finally:
        wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
        out.unlink(missing_ok=True)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": peak_bytes()}))


if __name__ == "__main__":
    main()
