"""`enogu convert FILE -o OUT`: another dtype, layout or other parts; damage repaired."""

import argparse
import json
import sys
from pathlib import Path

from enogu.cli.known_hashes import known_hashes
from enogu.cli.output import new_file
from enogu.cli.parser import Parser
from enogu.cli.progress import ProgressLine
from enogu.core.networks.convert import Converted, convert, expand_parts
from enogu.core.networks.fp8 import CONVENTIONS
from enogu.core.networks.rewrite import LAYOUTS, TARGETS, Conversion

PARTS = ("vae", "te", "te1", "te2", "unet")
SHOWN = 8  # repaired keys that the text shows
EXAMPLES = """examples:
  enogu convert old.ckpt -o new.safetensors --dtype fp16 --prune
  enogu convert model.safetensors -o folder --layout diffusers
  enogu convert folder -o model.safetensors --vae better-vae.safetensors"""


def parser() -> argparse.ArgumentParser:
    """Return the arguments of this verb."""
    verb = Parser(
        prog="enogu convert",
        description="Write a checkpoint in another dtype or layout or with other parts; repair position ids and names.",
        epilog=EXAMPLES,
    )
    verb.add_argument("file", metavar="FILE", type=Path, help=".safetensors, .ckpt, shards' index or diffusers folder")
    verb.add_argument("-o", "--out", type=Path, metavar="OUT", required=True, help="the file or folder to write")
    verb.add_argument("--layout", choices=LAYOUTS, default="single", help="one file, or a diffusers folder")
    verb.add_argument("--dtype", choices=TARGETS, default="same", help="of the floats (default: as they are)")
    verb.add_argument(
        "--scaled", choices=CONVENTIONS, default="", help="with fp8: ComfyUI's scales, old or current form"
    )
    for part in PARTS:
        verb.add_argument(f"--{part}", type=Path, metavar="FILE", help=f"take the {part} from another file")
    verb.add_argument("--prune", action="store_true", help="drop moving averages and what belongs to no component")
    verb.add_argument("--ema", action="store_true", help="make the UNet's moving averages its weights")
    verb.add_argument("--predicts", choices=("eps", "v"), default="", help="mark what the model predicts")
    verb.add_argument("--ztsnr", action="store_true", help="mark as trained with zero terminal SNR")
    verb.add_argument("--keep-nonfinite", action="store_true", help="let NaN and infinities through")
    verb.add_argument("--mmap", action="store_true", help="map files into memory instead of reading them")
    verb.add_argument("--json", action="store_true", help="print what was done as JSON")
    return verb


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    line = ProgressLine("convert", sys.stderr)
    change = Conversion(
        dtype=args.dtype,
        scaled=args.scaled,
        parts=expand_parts({part: path for part in PARTS if (path := getattr(args, part))}),
        prune=args.prune or args.ema,
        ema=args.ema,
        layout=args.layout,
        predicts=args.predicts,
        zero_terminal_snr=args.ztsnr,
        nonfinite="keep" if args.keep_nonfinite else "refuse",
    )
    out = args.out if args.layout == "diffusers" else new_file(args.out, "a checkpoint")
    known = known_hashes()
    done = convert(args.file, out, change, mapped=args.mmap, known=known, progress=line)
    known.remember()
    line.clear()
    print(json.dumps(_data(done), indent=1) if args.json else _text(args.out, done))
    return 0


def _data(done: Converted) -> dict[str, object]:
    digest = done.written.data_sha256 if done.written else None
    fates = {"repaired": done.repaired, "renamed": done.renamed, "dropped": done.dropped}
    return {"data_sha256": digest, **fates, "errors": done.errors}


def _text(out: Path, done: Converted) -> str:
    lines = [f"{out}: sha256 of its tensors {done.written.data_sha256}" if done.written else f"{out}: written"]
    lines += [f"  repaired: {key}" for key in done.repaired[:SHOWN]]
    lines += [f"  repaired: {len(done.repaired) - SHOWN} more"] if len(done.repaired) > SHOWN else []
    for what, keys in (("renamed", done.renamed), ("dropped", done.dropped)):
        if keys:
            lines.append(f"  {what} {len(keys)} tensors, such as {keys[0]}")
    if done.errors:
        mean = sum(done.errors.values()) / len(done.errors)
        lines.append(f"  {len(done.errors)} weights in 8 bits, mean error {mean:.2%} of their size; the worst:")
        lines += [f"    {error:.2%} {key}" for key, error in done.worst]
    return "\n".join(lines)
