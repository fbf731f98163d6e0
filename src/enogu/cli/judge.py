"""`enogu judge GRID`: how much of what its prompts ask for a grid shows, by a tagger."""

import argparse
import json
import sys
from pathlib import Path

from enogu.cli.demo import learnt
from enogu.cli.parser import Parser
from enogu.cli.progress import ProgressLine
from enogu.cli.run import machine
from enogu.core.records.errors import Refused
from enogu.core.records.files import read_json
from enogu.core.records.job import Job
from enogu.judge.config import JudgeConfig
from enogu.recipe.config import MachineConfig
from enogu.recipe.kinds import EMBEDDED, KINDS, PACKAGE, runner

EXAMPLE = """example:
  enogu judge sheet --group new=rabbit_ears,mushroom_hat --heldout work/posts-heldout-9c396f1e -o judged"""


def parser() -> argparse.ArgumentParser:
    """Return the arguments of this verb."""
    verb = Parser(
        prog="enogu judge",
        description="Measure a grid's pictures by the tags their prompts ask for; models are compared with the first.",
        epilog=EXAMPLE,
    )
    verb.add_argument("grid", type=Path, help="the folder of a grid: samples.parquet and its images")
    verb.add_argument("--tagger", default="mini", metavar="DIR", help="a tagger of the WD14 form (default: mini)")
    verb.add_argument("--group", action="append", default=[], metavar="NAME=TAG,TAG", help="tags to report together")
    verb.add_argument("--heldout", type=Path, metavar="POSTS", help="a posts stage of real drawings, for the ceiling")
    verb.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="gets scores.parquet, measures.json")
    verb.add_argument("--json", action="store_true", help="print measures.json instead of a table")
    return verb


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    for folder, file in ((args.grid, "samples.parquet"), (args.heldout, "manifest.parquet")):
        if folder and not (folder / file).is_file():
            raise Refused(f"{folder} holds no {file}: give the folder of a finished stage")
    groups = dict(map(_group, args.group))
    config = JudgeConfig(grid="grid", tagger="tagger", groups=groups, heldout="heldout" if args.heldout else None)
    inside = EMBEDDED["tagger"].get(args.tagger)
    inputs = {"grid": {"grid": args.grid}, "tagger": {"tagger": PACKAGE / inside if inside else Path(args.tagger)}}
    if args.heldout:
        inputs["heldout"] = {"heldout": args.heldout}
    line = ProgressLine("judge", sys.stderr)
    device, threads = machine(MachineConfig())
    runner(KINDS["judge"])(config, Job(out=args.out, inputs=inputs, progress=line, device=device, threads=threads))
    line.clear()
    measures = read_json(args.out / "measures.json")
    print(json.dumps(measures, ensure_ascii=False) if args.json else learnt(measures))
    return 0


def _group(given: str) -> tuple[str, tuple[str, ...]]:
    name, equals, tags = given.partition("=")
    if not (name and equals):
        raise Refused(f"--group {given!r}: write NAME=TAG,TAG, as in new=rabbit_ears,mushroom_hat")
    return name, tuple(tag for tag in tags.split(",") if tag.strip())
