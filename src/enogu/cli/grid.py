"""`enogu grid MODEL ... -p PROMPT ...`: draw model x prompt x seed, on one sheet."""

import argparse
import sys
from pathlib import Path

from enogu.cli.drawing import add_arguments, checkpoint, shared, title
from enogu.cli.parser import Parser
from enogu.cli.progress import ProgressLine
from enogu.cli.run import machine
from enogu.core.records.errors import Refused
from enogu.core.records.job import Job
from enogu.recipe.config import MachineConfig
from enogu.sample.config import GridConfig
from enogu.sample.stage import run as run_stage

EXAMPLE = """example:
  enogu grid base.safetensors tuned=out/model.safetensors -p '1girl, red hair' -p '1boy, hat' --seeds 1 2 3 -o sheet"""


def parser() -> argparse.ArgumentParser:
    """Return the arguments of this verb."""
    verb = Parser(
        prog="enogu grid",
        description="Draw every prompt with every model under every seed.\n"
        "DIR gets images/, samples.parquet, grid.png.\n"
        "A grid may grow there; one that would replace pictures of another is refused.",
        epilog=EXAMPLE,
    )
    verb.add_argument("models", nargs="+", metavar="MODEL", help="a checkpoint, NAME=FILE, or an embedded model")
    verb.add_argument("-p", "--prompt", action="append", default=[], help="a row; may be given more than once")
    verb.add_argument("--prompts", default="", metavar="FILE", help="more rows, one prompt per line")
    verb.add_argument("--seeds", type=int, nargs="+", default=list(GridConfig.seeds), help="default: 1 2 3")
    add_arguments(verb)
    return verb


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    files = _files(args.models)
    config = GridConfig(
        models=tuple(files),
        prompts=tuple(args.prompt),
        prompts_file=args.prompts,
        seeds=tuple(args.seeds),
        **shared(args, next(iter(files.values()))),
    )
    line = ProgressLine("grid", sys.stderr)
    device, threads = machine(MachineConfig())
    job = Job(out=args.out, inputs={"models": files}, progress=line, device=device, threads=threads)
    summary = run_stage(config, job, replaces=False)
    line.clear()
    for warning in summary["warnings"]:
        print(f"enogu: {warning}", file=sys.stderr)
    print(args.out / "grid.png")
    return 0


def _files(models: list[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for given in models:
        name, equals, file = given.partition("=")
        path = checkpoint(file if equals else given)
        name = name if equals else title(path)
        if name in files or "/" in name:
            raise Refused(f"{given!r}: the column {name!r} is taken or holds a slash; name it, as in other=FILE")
        files[name] = path
    return files
