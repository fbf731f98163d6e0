"""All benches of the data rooms, each in a process of its own: `python -m benchmarks.data [import] [select] ...`.

A case of one bench is named behind its bench: `python -m benchmarks.data import:sqlite captions`. What each prints goes
into benchmarks/data_MACHINE_DATE.md as it comes, so that a run that is cut off leaves its rows; one bench that fails is
named at the end, and the others run all the same.
"""

import argparse
import datetime
import subprocess
import sys
from pathlib import Path
from typing import TextIO

from benchmarks.side_by_side import machine, slug

HERE = Path(__file__).parent
ORDER = ("import", "select", "captions", "audit", "latents", "taggers")


def benches() -> list[str]:
    """Return the benches that are there."""
    return [name for name in ORDER if (HERE / f"data_{name}.py").exists()]


def main() -> int:
    """Run the benches asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benches", nargs="*", metavar="BENCH[:CASE]", help=f"of {', '.join(benches())}")
    wanted: dict[str, list[str]] = {}
    for word in parser.parse_args().benches or benches():
        bench, _, case = word.partition(":")
        if bench not in benches():
            parser.error(f"there is no bench {bench!r}; there are {', '.join(benches())}")
        wanted.setdefault(bench, []).extend([case] if case else [])
    failed = []
    with (HERE / f"data_{slug(machine())}_{datetime.date.today()}.md").open("a", encoding="utf-8") as table:
        for bench, cases in wanted.items():
            print(f"== {bench} {' '.join(cases)}", flush=True)
            if not kept(bench, cases, table):
                failed.append(bench)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


def kept(bench: str, cases: list[str], table: TextIO) -> bool:
    """Run a bench, pass on what it prints, and append that to the table; return whether it ended well."""
    command = [sys.executable, "-m", f"benchmarks.data_{bench}", *cases]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            table.write(line)
            table.flush()
    table.write("\n")
    return process.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
