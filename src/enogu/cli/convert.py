"""`enogu convert FILE -o OUT`: another dtype, other parts, damage repaired."""

import argparse
import json
import sys
from pathlib import Path

from enogu.cli.progress import ProgressLine
from enogu.core.networks.convert import TARGETS, Conversion, Converted, convert, expand_parts
from enogu.core.networks.fp8 import CONVENTIONS
from enogu.core.records.errors import Refused

PARTS = ("vae", "te", "te1", "te2", "unet")


def parser() -> argparse.ArgumentParser:
    """Return the arguments of this verb."""
    verb = argparse.ArgumentParser(
        prog="enogu convert",
        description="Write a checkpoint in another dtype or with other parts; repair position ids.",
    )
    verb.add_argument("file", metavar="FILE", type=Path)
    verb.add_argument("-o", "--out", type=Path, metavar="OUT", required=True, help="the file to write")
    verb.add_argument("--dtype", choices=TARGETS, default="same", help="of the floats (default: as they are)")
    verb.add_argument(
        "--scaled", choices=CONVENTIONS, default="", help="with fp8: ComfyUI's scales, old or current form"
    )
    for part in PARTS:
        verb.add_argument(f"--{part}", type=Path, metavar="FILE", help=f"take the {part} from another file")
    verb.add_argument("--prune", action="store_true", help="drop moving averages and what belongs to no component")
    verb.add_argument("--json", action="store_true", help="print what was done as JSON")
    return verb


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    if args.out.exists():
        raise Refused(f"{args.out} exists; choose another name or remove it first")
    parts = expand_parts({part: path for part in PARTS if (path := getattr(args, part))})
    line = ProgressLine("convert", sys.stderr)
    change = Conversion(dtype=args.dtype, scaled=args.scaled, parts=parts, prune=args.prune)
    done = convert(args.file, args.out, change, progress=line)
    line.clear()
    print(json.dumps(_data(done), indent=1) if args.json else _text(args.out, done))
    return 0


def _data(done: Converted) -> dict[str, object]:
    digest = done.written.sha256 if done.written else None
    return {"sha256": digest, "repaired": done.repaired, "dropped": done.dropped, "errors": done.errors}


def _text(out: Path, done: Converted) -> str:
    lines = [f"{out}: sha256 {done.written.sha256 if done.written else ''}"]
    lines += [f"  repaired: {key}" for key in done.repaired]
    if done.dropped:
        lines.append(f"  dropped {len(done.dropped)} tensors")
    if done.errors:
        mean = sum(done.errors.values()) / len(done.errors)
        lines.append(f"  {len(done.errors)} weights in 8 bits, mean error {mean:.2%} of their size; the worst:")
        lines += [f"    {error:.2%} {key}" for key, error in done.worst]
    return "\n".join(lines)
