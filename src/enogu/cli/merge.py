"""`enogu merge 'FORMULA' NAME=FILE ... -o OUT`: merge checkpoints by a formula."""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from enogu.cli.progress import ProgressLine
from enogu.core.networks.header import open_read
from enogu.core.records.errors import Refused
from enogu.merge.config import DTYPES, PRECISIONS, MergeConfig
from enogu.merge.hits import hits, lines
from enogu.merge.report import rows, summary, text
from enogu.merge.stage import merge, planned

EXAMPLE = """example:
  enogu merge 'base + 0.6*(tuned - base)' base=base.safetensors tuned=tuned.safetensors -o mixed.safetensors"""


def parser() -> argparse.ArgumentParser:
    """Return the arguments of this verb."""
    verb = argparse.ArgumentParser(
        prog="enogu merge",
        description="Merge checkpoints by a formula.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("formula", metavar="FORMULA", help="what to compute, or @FILE to read it from a file")
    verb.add_argument("models", metavar="NAME=FILE", nargs="+", help="the models that the formula names")
    verb.add_argument("-o", "--out", type=Path, metavar="OUT", help="the file to write")
    verb.add_argument("--plan", action="store_true", help="show what would become of each tensor and stop")
    verb.add_argument("--json", action="store_true", help="print the plan as JSON, with every tensor")
    verb.add_argument("--dtype", choices=DTYPES, default="same", help="of the result (default: as the first model)")
    verb.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the arithmetic (default: fp32)")
    verb.add_argument(
        "--vae", default="first", metavar="NAME", help="'first' (default), a model, or 'formula' to blend"
    )
    verb.add_argument("--text", default="first", metavar="NAME", help="the same for the text encoders (default: first)")
    verb.add_argument("--keep-nonfinite", action="store_true", help="let NaN and infinities through")
    verb.add_argument("--seed", type=int, default=0, help="of methods that draw at random (default: 0)")
    return verb


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    config = MergeConfig(
        formula=_formula(args.formula),
        dtype=args.dtype,
        precision=args.precision,
        vae=args.vae,
        text=args.text,
        nonfinite="keep" if args.keep_nonfinite else "refuse",
        seed=args.seed,
    )
    files = _files(args.models)
    if args.plan:
        plan, _ = planned(config, files)
        told = {**summary(plan), "block_weights": [asdict(hit) for hit in hits(plan)], "keys": rows(plan)}
        print(json.dumps(told, indent=1) if args.json else "\n".join([text(plan), *lines(plan)]))
        return 0
    line = ProgressLine("merge", sys.stderr)
    plan, written = merge(config, files, _out(args.out, files), threads=os.cpu_count() or 1, progress=line)
    line.clear()
    result = {**summary(plan), "out": str(args.out), "sha256": written.sha256}
    print(json.dumps(result, indent=1) if args.json else f"{text(plan)}\n{args.out}: sha256 {written.sha256}")
    return 0


def _formula(text: str) -> str:
    if not text.startswith("@"):
        return text
    with open_read(Path(text[1:])) as handle:
        return handle.read().decode("utf-8", errors="replace")


def _files(pairs: list[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not equals or not name or name in files:
            raise Refused(f"{pair!r}: bind each model once, as NAME=FILE")
        files[name] = Path(path)
    return files


def _out(out: Path | None, files: dict[str, Path]) -> Path:
    if out is None:
        raise Refused("say where to write with -o OUT, or look first with --plan")
    if out.exists():
        raise Refused(f"{out} exists; choose another name or remove it first")
    return out
