"""One merge, timed alone in its process: `python -m benchmarks.merge_run WAY CASE FOLDER`; prints JSON."""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

READ_BYTES = 8 << 20


def floor(case: dict[str, str], files: list[Path], out: Path) -> Callable[[], object]:
    """Read every input once and write as many bytes as the result has, front to back."""

    def work() -> None:
        with out.open("wb", buffering=0) as sink:
            for number, file in enumerate(files):
                with file.open("rb", buffering=0) as source:
                    while chunk := source.read(READ_BYTES):
                        if number == 0:
                            sink.write(chunk)
            os.fsync(sink.fileno())

    return work


def enogu(case: dict[str, str], files: list[Path], out: Path) -> Callable[[], object]:
    """Merge with enogu, all hashes included."""
    from enogu.merge.config import MergeConfig
    from enogu.merge.stage import merge

    config = MergeConfig(formula=case["enogu"], vae="formula")
    named = {f"m{number}": file for number, file in enumerate(files)}
    return lambda: merge(config, named, out, threads=os.cpu_count() or 1)


def mecha(case: dict[str, str], files: list[Path], out: Path) -> Callable[[], object]:
    """Merge with sd-mecha, in its default settings but for the dtype of the result."""
    import sd_mecha
    import torch

    models = [sd_mecha.model(file) for file in files]
    recipe = eval(case["mecha"], {"m": models, "sd": sd_mecha})
    return lambda: sd_mecha.merge(recipe, output=out, output_dtype=torch.float16)


def main() -> None:
    """Run one way of one case and print its cost."""
    way, case, folder = sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3])
    files = [folder / f"{case['family']}-{number}.safetensors" for number in range(int(case["models"]))]
    out = folder / "out.safetensors"
    work = {"floor": floor, "enogu": enogu, "mecha": mecha}[way](case, files, out)
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    try:
        work()
    finally:
        wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
        out.unlink(missing_ok=True)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": after.ru_maxrss * unit}))


if __name__ == "__main__":
    main()
