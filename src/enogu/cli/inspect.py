"""`enogu inspect FILE...`: what a checkpoint is made of; how two differ; whether one is what it claims."""

import argparse
import json
import sys
from pathlib import Path
from types import MappingProxyType

from enogu.cli.parser import Parser, counting_from
from enogu.cli.progress import ProgressLine
from enogu.cli.table import table
from enogu.core.records.errors import Refused
from enogu.core.records.files import write_bytes
from enogu.merge.chart import png, svg
from enogu.merge.difference import compare
from enogu.merge.inspection import inspect, report
from enogu.merge.verify import SAMPLE, verify

DRAWN = MappingProxyType({".png": png, ".svg": svg})


def parser() -> argparse.ArgumentParser:
    """Return the arguments of this verb."""
    verb = Parser(
        prog="enogu inspect",
        description="Show a checkpoint's family, parts, damage, hashes and ancestry; of two, how they differ.",
        epilog="A checkpoint is a .safetensors file, a .ckpt (what is in it is not run), or a diffusers folder.",
    )
    verb.add_argument("files", metavar="FILE", type=Path, nargs="+", help="two are compared; of others each is told")
    verb.add_argument("--json", action="store_true", help="print everything as JSON, of several a list")
    verb.add_argument("--quick", action="store_true", help="read the header only: no hashes, no look for damage")
    verb.add_argument("--picture", type=Path, metavar="PNG", help="of two files: also draw the differences (or SVG)")
    verb.add_argument(
        "--verify", action="store_true", help="recompute tensors of the first FILE from its parents, the other FILEs"
    )
    verb.add_argument(
        "--sample",
        type=counting_from(0),
        default=SAMPLE,
        metavar="N",
        help=f"tensors to recompute, 0 for all (default: {SAMPLE})",
    )
    return verb


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    line = ProgressLine("inspect", sys.stderr)
    if args.verify:
        return _verify(args, line)
    if len(args.files) == 2:
        return _compare(args, line)
    if args.picture:
        raise Refused("--picture draws how two files differ; give two")
    told = []
    for path in args.files:
        told.append(inspect(path, deep=not args.quick, progress=line))
        line.clear()
        if not args.json:
            print(report(told[-1]))
    if args.json:
        print(json.dumps(told if len(told) > 1 else told[0], indent=1, ensure_ascii=False))
    return 0


def _compare(args: argparse.Namespace, line: ProgressLine) -> int:
    draw = DRAWN.get(args.picture.suffix.lower()) if args.picture else None
    if args.picture and not draw:
        raise Refused(f"--picture {args.picture}: write a {' or '.join(DRAWN)}")
    found = compare(args.files[0], args.files[1], line)
    line.clear()
    if draw:
        write_bytes(args.picture, draw(found))
    print(json.dumps(found, indent=1) if args.json else _differences(found))
    return 0


def _verify(args: argparse.Namespace, line: ProgressLine) -> int:
    verdict = verify(args.files[0], args.files[1:], sample=args.sample, progress=line)
    line.clear()
    if verdict.holds:
        print(f"{args.files[0]}: {verdict.checked} of {verdict.tensors} tensors recomputed, all as the recipe claims")
        return 0
    if verdict.keys_differ:
        print(f"{args.files[0]}: its tensors are not those that the recipe makes")
    for key in verdict.wrong:
        print(f"{args.files[0]}: {key} is not what the recipe makes")
    return 1


def _differences(found: dict[str, list[dict[str, object]]]) -> str:
    rows = [["component", "block", "tensors", "L2", "relative", "cosine", "like signs", "changed"]]
    for group in found["groups"]:
        shares = [f"{group[name]:.2%}" for name in ("signs", "changed")]
        numbers = [f"{group['l2']:.4g}", f"{group['relative']:.3%}", f"{group['cosine']:.6f}"]
        rows.append([str(group["component"]), str(group["block"]) or "-", str(group["tensors"]), *numbers, *shares])
    lines = [table(rows, "<<>>>>>>")] if found["groups"] else ["no tensors in common"]
    odd = sum(int(str(group["nonfinite"])) for group in found["groups"])
    lines += [f"{odd:,} elements are NaN or infinite in either and are left out"] if odd else []
    for kind, words in (
        ("only_first", "only in the first"),
        ("only_second", "only in the second"),
        ("misshapen", "of other shape"),
    ):
        if found[kind]:
            lines.append(f"{len(found[kind])} tensors {words}, for example {found[kind][0]}")
    return "\n".join(lines)
