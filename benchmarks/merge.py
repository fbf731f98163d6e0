"""Merging against the floor of plain I/O and against sd-mecha, on synthetic checkpoints of true keys and shapes.

`python -m benchmarks.merge [CASE ...] [--folder DIR] [--rounds N]`; cases are the tables of merge_cases.toml, and
`extract`, which runs benchmarks.lora_extraction. The inputs take 2.1 GB (SD1.5) or 6.9 GB (SDXL) each and are made in
the folder, one family after the other. Every run is a process of its own that first drops the inputs from the page
cache; the ways take turns. The table is written after every case.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.merge_answers import worst_error
from benchmarks.merge_inputs import make_inputs
from benchmarks.side_by_side import machine, slug

ROUNDS = 3
LONGEST = 1800  # seconds that a run may take; the peer's longest are stopped there
PEER = ("sd-mecha==1.1.8", "scipy", "tqdm", "fuzzywuzzy", "python-Levenshtein", "Levenshtein", "rapidfuzz", "click",
        "PyYAML")  # fmt: skip
CLOSE = 1e-6  # to the float64 answer, relative to its largest element
HERE = Path(__file__).parent
Run = dict[str, float]
Case = Mapping[str, Any]


def main() -> int:
    """Print the table as it grows, save it, and return whether a target was missed."""
    cases = tomllib.loads((HERE / "merge_cases.toml").read_text(encoding="utf-8"))
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join([*cases, 'extract'])} (default: all)")
    asked.add_argument("--folder", type=Path, default=Path("build/bench-merge"))
    asked.add_argument("--rounds", type=int, default=ROUNDS, help="of each way; slow ways of sd-mecha run once")
    asked.add_argument("--no-peer", action="store_true", help="leave sd-mecha out")
    asked.add_argument("--out", type=Path, help="the table (default: benchmarks/merge_MACHINE_DATE.md)")
    args = asked.parse_args()
    if strange := set(args.cases) - {*cases, "extract"}:
        asked.error(f"there is no case {min(strange)!r}; there are {', '.join([*cases, 'extract'])}")
    chosen = [name for name in [*cases, "extract"] if not args.cases or name in args.cases]
    peer = None if args.no_peer else install_peer(args.folder)
    table = Table(args.out or HERE / f"merge_{slug(machine())}_{datetime.date.today()}.md")
    best: dict[str, dict[str, Run]] = {}
    for name in (name for name in chosen if name in cases):
        case = cases[name]
        files = make_inputs(case["family"], case["models"], args.folder)
        best[name] = race(case, files, peer=peer, rounds=args.rounds)
        table.add(case, best[name], against=best.get(case.get("of", "")), files=files)
    if "extract" in chosen:
        table.append(extraction(args.folder))
    return table.missed


def race(case: Case, files: Sequence[Path], *, peer: Path | None, rounds: int) -> dict[str, Run]:
    """Return the best run of each way; every round begins with another, for each leaves the disk busy for the next."""
    ways = ["floor", "enogu", "again", *(["unhashed"] if "unhashed" in case else [])]
    ways += ["mecha"] if peer and "mecha" in case else []
    runs: dict[str, list[Run]] = {}
    for number in range(rounds):
        for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
            if way == "mecha" and number and case.get("slow"):
                continue
            if found := measure(way, case, files, peer=peer):
                runs.setdefault(way, []).append(found)
                print(f"  {case['title']}, {way}: {found['wall']:.1f} s, CPU {found['cpu']:.1f} s", flush=True)
    return {way: min(found, key=lambda run: run["wall"]) for way, found in runs.items()}


def measure(way: str, case: Case, files: Sequence[Path], *, peer: Path | None) -> Run | None:
    """Run one way in its own process; None if it does not finish."""
    paths = [str(HERE.parent / "src"), str(HERE.parent), *([str(peer)] if peer and way == "mecha" else [])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "benchmarks.merge_run", way, json.dumps(case), *map(str, files)]
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        print(f"  {case['title']}, {way}: stopped after {LONGEST} s", flush=True)
        return None
    if done.returncode:
        print(f"  {case['title']}, {way}: {done.stderr.strip().splitlines()[-1:]}", flush=True)
        return None
    found: Run = json.loads(done.stdout.splitlines()[-1])
    if word := next((line for line in done.stderr.splitlines() if "foreseen" in line), ""):
        print(f"  {case['title']}: {found['peak'] / 2**20:,.0f} MiB; {word}", flush=True)
    return found


def install_peer(folder: Path) -> Path | None:
    """Install sd-mecha where only it is seen; None, and a word about it, where that fails."""
    peer = folder / "peer"
    if not (peer / "sd_mecha").exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(peer), *PEER]
        if subprocess.run(command, check=False).returncode:
            print("sd-mecha could not be installed; its columns stay empty", flush=True)
            return None
    return peer


def extraction(folder: Path) -> list[str]:
    """Return the table of the extraction bench, run in a process of its own."""
    for file in folder.glob("*-*.safetensors"):
        file.unlink()
    command = [sys.executable, "-m", "benchmarks.lora_extraction", "rank-32", "full-svd", "--folder", str(folder)]
    command += ["--out", str(folder / "lora_extraction.md")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent / "src"), str(HERE.parent)])}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=False)
    for file in folder.glob("sdxl-unet-*.safetensors"):
        file.unlink()
    return ["", "## LoRA extraction", "", *done.stdout.splitlines()]


class Table:
    """The table in the making."""

    def __init__(self, path: Path) -> None:
        """Begin with what the figures depend on."""
        self.path, self.missed = path, 0
        self.lines = [
            "# Merging: enogu, the floor, sd-mecha",
            "",
            f"{datetime.date.today()}, {machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
            f"torch {torch.__version__}, {PEER[0]}. `{' '.join(['python -m benchmarks.merge', *sys.argv[1:]])}`",
            "",
            "Wall and CPU in seconds, peak memory in MiB; best of the rounds, inputs dropped from the page cache "
            "before each. The floor reads the inputs and writes the result with plain sequential read() and write() "
            "through the page cache, and fsync. enogu hashes inputs and result; known "
            "parents are those whose hash it has kept since they were first used.",
            "",
            "| case | floor | enogu | CPU | peak | sd-mecha | CPU | peak | to reach | |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]

    def add(self, case: Case, best: Mapping[str, Run], *, against: Mapping[str, Run] | None, files: list[Path]) -> None:
        """Add the line of a case."""
        cells = [f"{best['floor']['wall']:.1f}" if "floor" in best else "-"]
        for way in ("enogu", "mecha"):
            run = best.get(way)
            cells += [f"{run['wall']:.1f}", f"{run['cpu']:.1f}", f"{run['peak'] / 2**20:,.0f}"] if run else ["-"] * 3
        verdicts = list(self._verdicts(case, best, against, files=files)) if "enogu" in best else ["failed"]
        self.missed |= any("MISSED" in verdict for verdict in verdicts) or "enogu" not in best
        self.append([f"| {case['title']} | {' | '.join(cells)} | {'; '.join(verdicts)} |"])

    def append(self, lines: list[str]) -> None:
        """Add lines, show them and save all."""
        self.lines += lines
        print("\n".join(lines), flush=True)
        self.path.write_text("\n".join(self.lines) + "\n", encoding="utf-8")

    def _verdicts(
        self, case: Case, best: Mapping[str, Run], against: Mapping[str, Run] | None, *, files: list[Path]
    ) -> list[str]:
        ours, found = best["enogu"], []
        floor = against.get("enogu") if against else best.get("floor") if "of" not in case else None
        if "most" in case and floor:
            what = "their mean" if against else "the floor"
            found.append(
                _held(
                    f"{ours['wall'] / floor['wall']:.2f} × {what}",
                    ours["wall"] / floor["wall"] <= case["most"],
                    f"at most {case['most']}",
                )
            )
        if "faster" in case and "mecha" in best:
            new, known = (best["mecha"]["wall"] / best[way]["wall"] for way in ("enogu", "again"))
            told = f"{new:.1f} × faster than sd-mecha, {known:.1f} × once the parents are known"
            found.append(_held(told, new >= case["faster"], f"at least {case['faster']:g}"))
        for way, what in (("enogu", "new"), ("again", "known")):
            if "unhashed" in best and way in best:
                ratio = best[way]["wall"] / best["unhashed"]["wall"]
                told = f"parents {what}: {best[way]['wall']:.1f} s, {ratio:.2f} × without hashes"
                found.append(_held(told, ratio <= case["unhashed"], f"at most {case['unhashed']}"))
        found.append(
            _held(f"{ours['peak'] / 2**20:,.0f} MiB", ours["peak"] <= case["peak"] << 20, f"at most {case['peak']}")
        )
        if "answer" in case:
            error = worst_error(case, files)
            found.append(_held(f"{error:.1e} from float64", error <= CLOSE, f"at most {CLOSE:g}"))
        return found


def _held(what: str, holds: bool, most: str) -> str:
    return what if holds else f"{what} MISSED ({most})"


if __name__ == "__main__":
    sys.exit(main())
