"""`enogu demo`: the main job on the embedded default, and what came of it."""

import argparse
import tomllib
from pathlib import Path
from typing import Any

from enogu.cli.parser import Parser
from enogu.cli.run import execute
from enogu.cli.table import table
from enogu.core.records.files import read_json
from enogu.recipe.kinds import PACKAGE
from enogu.recipe.plan import Plan, plan
from enogu.recipe.reading import read

RECIPE = PACKAGE / "recipe" / "data" / "demo.toml"
TIMES = RECIPE.with_name("demo-seconds.toml")


def parser() -> argparse.ArgumentParser:
    """Return the arguments of this verb."""
    verb = Parser(
        prog="enogu demo",
        description="Draw a booru, fine-tune the mini base on it, merge, sample, judge, and report it all on one page.",
    )
    verb.add_argument("--work", type=Path, default=Path("enogu-demo"), metavar="DIR", help="where (./enogu-demo)")
    verb.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of the recipe")
    verb.add_argument("--recipe", action="store_true", help="print the recipe instead")
    return verb


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    if args.recipe:
        print(RECIPE.read_text(encoding="utf-8"), end="")
        return 0
    whole = plan(read(RECIPE, settings=args.set), args.work)
    usual = tomllib.loads(TIMES.read_text(encoding="utf-8"))
    if status := execute(whole, [], usual=usual):
        return status
    for path in _made(whole, "judge"):
        print(f"\n{learnt(read_json(path / 'measures.json'))}")
    for path in _made(whole, "report"):
        print(f"\nThe report: {(path / 'report.html').resolve()}")
    return 0


def learnt(measures: dict[str, Any]) -> str:
    """Return what a judge measured as a table: measure x model, each mean with its spread, and the verdicts."""
    cells = {(one["name"], one["model"]): f"{one['mean']:.2f} ± {one['spread']:.2f}" for one in measures["measures"]}
    models, ceiling = measures["models"], measures.get("ceiling", {})
    names = list(dict.fromkeys(name for name, _ in cells))
    rows = [["", *models, "ceiling"]]
    for name in names:
        best = f"{ceiling[name]:.2f}" if name in ceiling else ""
        rows.append([name, *(cells.get((name, model), "") for model in models), best])
    return "\n".join([table(rows, "<" + ">" * (len(models) + 1)), "", *measures["verdicts"]])


def _made(whole: Plan, kind: str) -> list[Path]:
    return [task.folder for task in whole.tasks.values() if task.stage.kind == kind]
