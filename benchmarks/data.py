"""All benches of the data rooms, each in a process of its own: `python -m benchmarks.data [import] [select] ...`.

A case of one bench is named behind its bench: `python -m benchmarks.data import:sqlite captions`. Each prints as it
goes and writes its own table; one that fails is named at the end, and the others run all the same.
"""

import argparse
import subprocess
import sys
from pathlib import Path

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
    for bench, cases in wanted.items():
        print(f"== {bench} {' '.join(cases)}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.data_{bench}", *cases], check=False).returncode:
            failed.append(bench)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
