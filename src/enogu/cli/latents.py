"""`enogu latents show|verify FOLDER`: look at the latents of a finished stage, and check every record."""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from enogu.cli.progress import ProgressLine
from enogu.cli.table import table
from enogu.core.records.errors import Failed
from enogu.core.records.shards import Shards
from enogu.latents.statistics import bucket_table, pixel_figures


def parser() -> argparse.ArgumentParser:
    """Return the arguments of this verb."""
    verb = argparse.ArgumentParser(prog="enogu latents", description="Look at the latents of a finished stage.")
    subverbs = verb.add_subparsers(dest="subverb", required=True)
    for name, line, work in (
        ("show", "buckets, pixels kept, what was skipped", _show),
        ("verify", "read every record and compare its checksum", _verify),
    ):
        subverb = subverbs.add_parser(name, help=line, description=line)
        subverb.add_argument("folder", type=Path, metavar="FOLDER", help="the stage's folder")
        subverb.add_argument("--json", action="store_true", help="for another program to read")
        subverb.set_defaults(work=work)
    return verb


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    shards = Shards(args.folder)
    status: int = args.work(shards, as_json=args.json)
    return status


def _show(shards: Shards, *, as_json: bool) -> int:
    buckets, figures, skipped = bucket_table(shards.index), pixel_figures(shards.index), _reasons(shards.folder)
    if as_json:
        print(json.dumps({**figures, "skipped": skipped, "buckets": buckets.to_dicts()}, indent=1))
        return 0
    rows = [["bucket", "pictures", "kept", "enlarged"]]
    rows += [[f"{w}x{h}", f"{n:,}", f"{kept:.1%}", f"{more:,}"] for w, h, n, kept, more in buckets.iter_rows()]
    print(table(rows, "<>>>"))
    size = f"{len(shards.index):,} records, {figures['bytes'] / 1e6:,.1f} MB"
    print(f"\n{shards.index['post'].n_unique():,} pictures in {size}")
    print(f"{figures['kept']:.1%} of their pixels kept, {figures['megapixels']:.3g} megapixels each on average")
    for reason, count in skipped.items():
        print(f"skipped, {reason}: {count:,}")
    return 0


def _verify(shards: Shards, *, as_json: bool) -> int:
    progress = ProgressLine("latents", sys.stderr)
    problems = shards.verify(progress)
    progress.clear()
    if as_json:
        print(json.dumps({"records": len(shards.index), "problems": problems}, indent=1))
    elif not problems:
        print(f"{len(shards.index):,} records, all as they were written")
    if problems and not as_json:
        shown = "\n".join(problems[:20])
        rest = f"\nand {len(problems) - 20:,} more" if len(problems) > 20 else ""
        raise Failed(
            f"{len(problems):,} of {len(shards.index):,} records are damaged:\n{shown}{rest}\n{_remedy(shards)}"
        )
    return 1 if problems else 0


def _remedy(shards: Shards) -> str:
    return f"delete {shards.folder} and run the stage again"


def _reasons(folder: Path) -> dict[str, int]:
    path = folder / "skipped.jsonl"
    lines: list[dict[str, Any]] = (
        [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    )
    return dict(Counter(line["reason"] for line in lines))
