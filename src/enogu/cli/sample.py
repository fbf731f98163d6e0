"""`enogu sample MODEL -p PROMPT`: draw pictures with one checkpoint."""

import argparse
import sys

from enogu.cli.drawing import add_arguments, checkpoint, shared, title
from enogu.cli.parser import Parser
from enogu.cli.progress import ProgressLine
from enogu.cli.run import machine
from enogu.core.records.errors import Refused
from enogu.recipe.config import MachineConfig
from enogu.sample.cell import Cell, draw_cells, known_hash
from enogu.sample.config import GridConfig
from enogu.sample.lint import lint
from enogu.sample.settings import Request

EXAMPLE = """example:
  enogu sample mini-sd1 -p '1girl, (red hair:1.2), witch hat' --seed 7 --count 4 -o pictures"""


def parser() -> argparse.ArgumentParser:
    """Return the arguments of this verb."""
    verb = Parser(
        prog="enogu sample",
        description="Draw pictures with a checkpoint; each carries its infotext.\n"
        "None is ever replaced: one that is there already is not drawn again,\n"
        "and a different one of the same name is called NAME-2.",
        epilog=EXAMPLE,
    )
    verb.add_argument("model", metavar="MODEL", help="a checkpoint, or the name of an embedded model")
    verb.add_argument("-p", "--prompt", required=True, help="in A1111's grammar")
    verb.add_argument("--seed", type=int, default=0, help="of the first picture; the next has one more")
    verb.add_argument("--count", type=int, default=1, help="how many pictures (default: %(default)s)")
    add_arguments(verb)
    return verb


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    if args.count < 1:
        raise Refused(f"--count {args.count}: ask for at least 1 picture")
    path = checkpoint(args.model)
    seeds = tuple(range(args.seed, args.seed + args.count))
    config = GridConfig(models=(title(path),), prompts=(args.prompt,), seeds=seeds, **shared(args, path))
    for warning in lint(args.prompt):
        print(f"enogu: {warning}", file=sys.stderr)
    cells = [cell.beside_others(args.out) for cell in _cells(config, known_hash(path))]
    missing = [cell for cell in cells if not cell.is_drawn(args.out)]
    line, done = ProgressLine("sample", sys.stderr), 0
    device, _ = machine(MachineConfig())
    for drawn in draw_cells(missing, path, args.out, device=device, at_once=config.pictures_at_once()):
        done += drawn
        line(done, len(missing), "pictures")
    line.clear()
    for cell in cells:
        print(args.out / cell.image)
    return 0


def _cells(config: GridConfig, sha256: str) -> list[Cell]:
    (row,), (model,) = config.rows(), config.models
    settings = config.settings()
    requests = [
        Request(prompt=row.text, negative=config.negative, seed=seed, settings=settings) for seed in config.seeds
    ]
    return [Cell(f"{model}-{request.seed}.png", model, sha256, request) for request in requests]
