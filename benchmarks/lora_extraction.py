"""Extracting a LoRA from an SDXL UNet: `enogu extract` against whole singular value decompositions.

`python -m benchmarks.lora_extraction [CASE ...] [--family sd1] [--folder DIR] [--out FILE]`; the cases are `rank-32`,
`locon-32-16` and `full-svd`. The inputs take 5.1 GB each (1.7 GB for sd1) and are kept in the folder. kohya's
extract_lora_from_models.py decomposes every matrix with torch.linalg.svd and keeps 32 directions of all; that way is
timed on one matrix of each shape and multiplied by how many there are.
"""

import argparse
import datetime
import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.side_by_side import machine, slug
from enogu.core.networks.header import Spec
from enogu.core.networks.layouts import layout
from enogu.core.networks.stream import Reader, as_bytes, open_writer
from enogu.merge.adapters.factors import Limits, factor
from enogu.merge.adapters.targets import ATTENTION

RANK = 32
MOST = 0.1  # of the full way's CPU time
SIGNAL = 64  # directions in which the tuned model differs strongly
POOL = 1 << 24  # elements of noise, used over and over under each model's weights
# the command, and what the kernel says of its memory: a child's ru_maxrss would begin with its parent's
MEASURED = "import sys; from enogu.cli import main; main(sys.argv[1:]); print(open('/proc/self/status').read())"
CASES = {"rank-32": ["--rank", "32"], "locon-32-16": ["--rank", "32", "--conv-rank", "16"], "full-svd": []}


def main() -> None:
    """Print the table and save it."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)} (default: all)")
    asked.add_argument("--family", choices=("sdxl", "sd1"), default="sdxl", help="whose UNet (default: %(default)s)")
    asked.add_argument("--folder", type=Path, default=Path("build/bench-merge"))
    asked.add_argument("--out", type=Path, help="the table (default: benchmarks/lora_extraction_MACHINE_DATE.md)")
    args = asked.parse_args()
    out = args.out or Path(__file__).parent / f"lora_extraction_{slug(machine())}_{datetime.date.today()}.md"
    base, tuned = (args.folder / f"{args.family}-unet-{name}.safetensors" for name in ("base", "tuned"))
    make_inputs(base, tuned, args.family)
    lines = [
        f"{datetime.date.today()}, {machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"torch {torch.__version__}. `{' '.join(['python -m benchmarks.lora_extraction', *sys.argv[1:]])}`",
        "",
        f"Rank {RANK} of the UNet of {args.family}, fp16. Seconds; peak memory in MiB.",
        "",
        "| way | wall | CPU | peak | missing, over the least possible |",
        "|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    cpu: dict[str, float] = {}
    for case in (case for case in CASES if not args.cases or case in args.cases):
        line, cpu[case] = full_svd(base, tuned) if case == "full-svd" else run(case, base, tuned)
        _add(lines, line)
    if {"rank-32", "full-svd"} <= cpu.keys():
        share = cpu["rank-32"] / cpu["full-svd"]
        _add(lines, f"\nrank-32 takes {share:.1%} of the whole decompositions' CPU time{_verdict(share)}.")
    out.write_text("\n".join(["# Extracting a LoRA", "", *lines]) + "\n", encoding="utf-8")


def _add(lines: list[str], line: str) -> None:
    lines.append(line)
    print(line, flush=True)


def _verdict(share: float) -> str:
    return "" if share <= MOST else f" MISSED (at most {MOST:.0%})"


def make_inputs(base: Path, tuned: Path, family: str) -> None:
    """Write a UNet of noise, and one that differs in a few strong directions and in noise, if they are not there."""
    base.parent.mkdir(parents=True, exist_ok=True)
    shapes = layout(family).components["unet"]
    specs = {key: Spec(torch.float16, shape) for key, shape in shapes.items()}
    pool = torch.randn(POOL, generator=torch.Generator().manual_seed(0)).mul_(0.02).repeat(2)
    for path in (path for path in (base, tuned) if not path.exists()):
        with open_writer(path, specs, {}) as writer:
            for number, (key, info) in enumerate(writer.infos.items()):
                values = pool[number : number + info.numel]
                if path == tuned:
                    values = values + difference(info.shape, number).reshape(-1)
                writer.write(key, as_bytes(values.half()))


def difference(shape: tuple[int, ...], number: int) -> Tensor:
    """Return strong directions that fade like 1/k, and noise under them."""
    random = torch.Generator().manual_seed(number)
    rows, columns = shape[0], max(int(torch.tensor(shape[1:]).prod()), 1)
    noise = torch.randn(rows, columns, generator=random).mul_(1e-4)
    if min(rows, columns) < SIGNAL:
        return noise
    up = torch.randn(rows, SIGNAL, generator=random) / torch.arange(1, SIGNAL + 1)
    return noise.addmm_(up, torch.randn(SIGNAL, columns, generator=random), alpha=1e-3)


def run(case: str, base: Path, tuned: Path) -> tuple[str, float]:
    """Return a line for the command as a maker runs it, and its CPU seconds."""
    out = base.with_name("extracted.safetensors")
    out.unlink(missing_ok=True)
    command = [sys.executable, "-c", MEASURED, "extract", str(tuned), "--base", str(base), "-o", str(out), *CASES[case]]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    missing, peak = (re.search(word, done.stdout) for word in (r"missing in all: (\S+)", r"VmHWM:\s+(\d+) kB"))
    out.unlink()
    assert missing is not None
    assert peak is not None
    line = f"| enogu extract, {case} | {wall:.1f} | {cpu:.1f} | {int(peak[1]) / 1024:,.0f} | {missing[1]} of it all |"
    return line, cpu


def full_svd(base: Path, tuned: Path) -> tuple[str, float]:
    """Return a line for the whole decompositions, estimated from one matrix of each shape, and their CPU seconds."""
    wall = cpu = 0.0
    worst = 1.0
    with Reader(base) as a, Reader(tuned) as b:
        keys = [key for key, info in a.header.tensors.items() if ATTENTION.match(key) and len(info.shape) > 1]
        counts = Counter(a.header.tensors[key].shape for key in keys)
        for shape, count in counts.items():
            key = next(key for key in keys if a.header.tensors[key].shape == shape)
            matrix = (b.tensor(key).float() - a.tensor(key).float()).reshape(shape[0], -1)
            start, began = time.perf_counter(), time.process_time()
            _, sigma, _ = torch.linalg.svd(matrix)  # with full matrices, as kohya's script calls it
            wall += count * (time.perf_counter() - start)
            cpu += count * (time.process_time() - began)
            least = float(sigma[RANK:].double().square().sum())
            lost = factor(matrix, Limits(RANK, 1.0, 0.0), dtype=torch.float32, seed=0).lost
            worst = max(worst, (lost / least) ** 0.5)
            print(f"  {count} of {list(shape)}: {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
    way = f"torch.linalg.svd of {sum(counts.values())} matrices (estimated from {len(counts)})"
    return f"| {way} | {wall:.0f} | {cpu:.0f} | - | randomised: at most {worst:.4f} × |", cpu


def environment() -> dict[str, str]:
    """Return the environment of the command: this source, wherever it is."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd() / "src"), os.environ.get("PYTHONPATH", "")])}


if __name__ == "__main__":
    main()
