"""`enogu extract TUNED --base BASE -o OUT`: what a model learnt, as a LoRA; also sums and other ranks of LoRAs."""

import argparse
import json
import os
import sys
from pathlib import Path

from enogu.cli.output import new_file
from enogu.cli.parser import Parser
from enogu.cli.progress import ProgressLine
from enogu.cli.table import table
from enogu.core.networks.source import open_source
from enogu.core.records.errors import Refused
from enogu.merge.adapters.config import DTYPES, ExtractConfig
from enogu.merge.adapters.extract import Extracted, extract
from enogu.merge.adapters.modules import is_adapter

EXAMPLES = """examples:
  enogu extract tuned.safetensors --base base.safetensors --rank 32 -o style.safetensors
  enogu extract style.safetensors --rank 16 -o smaller.safetensors
  enogu extract '0.8*a + 0.5*b' a=a.safetensors b=b.safetensors --rank 64 -o both.safetensors
  enogu extract 'mean("pool/*.safetensors") - base' base=base.safetensors -o pool.safetensors"""


def parser() -> argparse.ArgumentParser:
    """Return the arguments of this verb."""
    verb = Parser(
        prog="enogu extract",
        description="Keep a difference of models in a small file (LoRA or LoCon) that every UI loads.",
        epilog=EXAMPLES,
    )
    verb.add_argument("source", metavar="TUNED", help="a checkpoint, an adapter, or a formula that makes a difference")
    verb.add_argument("models", metavar="NAME=FILE", nargs="*", default=[], help="the models that a formula names")
    verb.add_argument("--base", type=Path, metavar="BASE", help="the checkpoint that TUNED began from")
    verb.add_argument("-o", "--out", type=Path, metavar="OUT", required=True, help="the file to write")
    verb.add_argument("--rank", type=int, default=32, help="of attention, feed-forward, projections (default: 32)")
    verb.add_argument(
        "--conv-rank", type=int, default=0, help="of what else the UNet has (default: 0, which leaves it out)"
    )
    verb.add_argument(
        "--energy", type=float, default=1.0, metavar="SHARE", help="smaller ranks where they keep this share"
    )
    verb.add_argument(
        "--threshold", type=float, default=0.0, metavar="SHARE", help="no directions below this share of the strongest"
    )
    verb.add_argument("--rest", action="store_true", help="keep norms and biases, too (LyCORIS, ComfyUI)")
    verb.add_argument("--dtype", choices=DTYPES, default="fp16", help="of the factors (default: fp16)")
    verb.add_argument("--seed", type=int, default=0, help="of the randomised decomposition (default: 0)")
    verb.add_argument("--json", action="store_true", help="print what was kept as JSON")
    return verb


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    formula, bound = _inputs(args)
    config, found = ExtractConfig(
        formula=formula,
        rank=args.rank,
        conv_rank=args.conv_rank,
        energy=args.energy,
        threshold=args.threshold,
        rest=args.rest,
        dtype=args.dtype,
        seed=args.seed,
    ).spelt_out(Path(), bound)
    files = {**bound, **found}
    line = ProgressLine("extract", sys.stderr)
    done = extract(config, files, new_file(args.out, "an adapter"), threads=os.cpu_count() or 1, progress=line)
    line.clear()
    print(json.dumps(_data(done), indent=1) if args.json else _text(args.out, done))
    return 0


def _inputs(args: argparse.Namespace) -> tuple[str, dict[str, Path]]:
    named = [pair.partition("=") for pair in args.models]
    if any(not (name and equals and path) for name, equals, path in named):
        raise Refused(f"{args.models}: bind the models of a formula as NAME=FILE")
    files = {name: Path(path) for name, _, path in named}
    if args.base:
        if files:
            raise Refused("--base goes with one file; in a formula write the base by its name")
        return "tuned - base", {"tuned": Path(args.source), "base": args.base}
    if files or set(args.source) & set("\"'"):
        return args.source, files
    if not Path(args.source).exists():
        raise Refused(f"{args.source}: no such file; give a file, or a formula and its models as NAME=FILE")
    with open_source(Path(args.source)) as source:
        if not is_adapter(source.header.tensors):
            raise Refused(f"{args.source} is a checkpoint; --base FILE says what it began from")
    return "adapter", {"adapter": Path(args.source)}


def _data(done: Extracted) -> dict[str, object]:
    return {
        "data_sha256": done.written.data_sha256 if done.written else None,
        "modules": done.tally.total.modules,
        "residual": done.tally.total.residual,
        "blocks": done.tally.rows(),
        "left_out": done.tally.shares(),
        "ranks": done.ranks,
    }


def _text(out: Path, done: Extracted) -> str:
    rows = [("", "modules", "missing")]
    rows += [
        (f"{row['block'] or row['component']}", f"{row['modules']}", f"{row['residual']:.2%}")
        for row in done.tally.rows()
    ]
    whole = done.tally.total
    lines = [
        table(rows, "<>>"),
        f"missing in all: {whole.residual:.2%} of the difference's size, over {whole.modules:,} modules",
        *(f"  left out: {share:.2%} of its square in {why}" for why, share in done.tally.shares().items()),
        f"{out}: sha256 of its tensors {done.written.data_sha256 if done.written else ''}",
    ]
    return "\n".join(lines)
