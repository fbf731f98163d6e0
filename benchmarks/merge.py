"""Merging against the floor of plain I/O and against sd-mecha, on synthetic checkpoints of true keys and shapes.

`python -m benchmarks.merge [--cases WORD ...] [--folder DIR] [--out FILE]`; the inputs take 2.1 GB (SD1) or 6.9 GB
(SDXL) each and are kept in the folder. Every run is a process of its own; the ways take turns within a case.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from benchmarks.side_by_side import machine
from enogu.core.networks.header import Spec
from enogu.core.networks.layouts import layout
from enogu.core.networks.stream import as_bytes, open_writer

POOL = 1 << 22  # elements of noise, used over and over: what a merge costs does not depend on the values
ROUNDS = 2
PEER = ("sd-mecha==1.1.8", "scipy", "tqdm", "fuzzywuzzy", "python-Levenshtein", "click", "PyYAML")
KOHAKU = "m0 + 1.0*(m1 - m2) + 0.25*(m3 - m0)"
DELTAS = "*[sd.subtract(x, m[0]) for x in m[1:]]"


def _dropped(options: str) -> str:
    return f"sd.add_difference(m[0], sd.ties_sum_with_dropout({DELTAS}, {options}, k=1.0, seed=0), alpha=1.0)"


CASES = (
    {"name": "SD1.5 weighted sum", "family": "sd1", "models": 2, "enogu": "0.5*m0 + 0.5*m1",
     "mecha": "sd.weighted_sum(m[0], m[1], alpha=0.5)"},
    {"name": "SDXL weighted sum", "family": "sdxl", "models": 2, "enogu": "0.5*m0 + 0.5*m1",
     "mecha": "sd.weighted_sum(m[0], m[1], alpha=0.5)"},
    {"name": "SD1.5 rev2 formula", "family": "sd1", "models": 4, "enogu": KOHAKU,
     "mecha": "sd.add_difference(sd.add_difference(m[0], sd.subtract(m[1], m[2]), alpha=1.0), "
              "sd.subtract(m[3], m[0]), alpha=0.25)"},
    {"name": "SD1.5 block weights", "family": "sd1", "models": 2, "enogu": "mbw(m0, m1, 'GRAD_V', base=0.5)"},
    {"name": "SD1.5 mean of 16", "family": "sd1", "models": 16, "enogu": "mean('m*')", "mecha": "sd.n_average(*m)"},
    {"name": "SD1.5 TIES of 4", "family": "sd1", "models": 5, "enogu": "ties(m0, m1, m2, m3, m4, keep=0.2)",
     "mecha": f"sd.add_difference(m[0], sd.ties_sum({DELTAS}, k=0.2), alpha=1.0)"},
    {"name": "SD1.5 DARE of 4", "family": "sd1", "models": 5, "enogu": "dare(m0, m1, m2, m3, m4, drop=0.9)",
     "mecha": _dropped("probability=0.9")},
    {"name": "SD1.5 DELLA of 4", "family": "sd1", "models": 5, "enogu": "della(m0, m1, m2, m3, m4, drop=0.5)",
     "mecha": _dropped("probability=0.5, della_eps=0.2")},
    {"name": "SD1.5 median of 16", "family": "sd1", "models": 16, "enogu": "geometric_median('m*')",
     "mecha": "sd.geometric_median(*m)"},
    {"name": "SD1.5 model stock of 15", "family": "sd1", "models": 16, "enogu": "model_stock(m0, 'm[1-9]*')"},
)  # fmt: skip


def make_inputs(family: str, count: int, folder: Path) -> None:
    """Write checkpoints near a common base that are not there yet."""
    torch.manual_seed(0)
    base = torch.randn(POOL) * 0.02
    specs = {key: Spec(torch.float16, shape) for key, shape in layout(family).shapes.items()}
    for number in range(count):
        values = (base + torch.randn(POOL) * 0.001).half()
        path = folder / f"{family}-{number}.safetensors"
        if path.exists():
            continue
        with open_writer(path, specs, {}) as writer:
            for key, info in writer.infos.items():
                for start in range(0, info.numel, POOL):
                    writer.write(key, as_bytes(values[: min(POOL, info.numel - start)]), offset=2 * start)


def measure(way: str, case: Mapping[str, object], folder: Path, *, peer: Path) -> dict[str, float] | None:
    """Run one way in its own process; None if it does not finish."""
    paths = [str(Path.cwd() / "src"), str(Path.cwd()), *([str(peer)] if way == "mecha" else [])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "benchmarks.merge_run", way, json.dumps(case), str(folder)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{way}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(case: Mapping[str, object], folder: Path, *, peer: Path, rounds: int) -> str:
    """Return a line of the table: the best of some rounds of each way."""
    ways = ("floor", "enogu", *(("mecha",) if "mecha" in case else ()))
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            if found := measure(way, case, folder, peer=peer):
                runs[way].append(found)
    best = {way: min(found, key=lambda run: run["wall"]) for way, found in runs.items() if found}
    ours, cells = best["enogu"], []
    for way in ("floor", "enogu", "mecha"):
        one = best.get(way)
        cells += [f"{one['wall']:.1f}", f"{one['cpu']:.1f}", f"{one['peak'] / 2**20:,.0f}"] if one else ["-"] * 3
    against = f"{best['mecha']['wall'] / ours['wall']:.1f}" if "mecha" in best else "-"
    return f"| {case['name']} | {' | '.join(cells)} | {ours['wall'] / best['floor']['wall']:.2f} | {against} |"


def main() -> None:
    """Print the table, and save it if asked."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--cases", nargs="*", default=[], help="words; a case runs if its name has one of them")
    asked.add_argument("--folder", type=Path, default=Path("build/bench-merge"))
    asked.add_argument("--rounds", type=int, default=ROUNDS)
    asked.add_argument("--out", type=Path)
    args = asked.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    peer = args.folder / "peer"
    if not peer.exists():
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", peer, *PEER, "rapidfuzz",
                        "Levenshtein"], check=False)  # fmt: skip
    lines = [
        f"{datetime.date.today()}, {machine()}, {os.cpu_count()} cores",
        f"Python {platform.python_version()}, torch {torch.__version__}, {PEER[0]}",
        "",
        "Wall and CPU in seconds, peak memory in MiB; best of the rounds. Above the floor: our wall over plain I/O's.",
        "",
        "| case | floor | CPU | peak | enogu | CPU | peak | sd-mecha | CPU | peak | above the floor | times faster |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case in CASES:
        if not args.cases or any(word in str(case["name"]) for word in args.cases):
            make_inputs(str(case["family"]), int(str(case["models"])), args.folder)
            lines.append(row(case, args.folder, peer=peer, rounds=args.rounds))
            print(lines[-1], flush=True)
    text = "\n".join(lines) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
