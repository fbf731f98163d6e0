"""`enogu plan RECIPE`: what a recipe would do; nothing is run."""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict

from enogu.cli.parser import Parser
from enogu.cli.progress import duration
from enogu.cli.recipes import add_arguments, planned
from enogu.cli.run import cores
from enogu.cli.table import table
from enogu.recipe.cautions import cautions
from enogu.recipe.forecast import Forecast, Previews, forecast, previews
from enogu.recipe.plan import Plan


def parser() -> argparse.ArgumentParser:
    """Return the arguments of this verb."""
    verb = Parser(
        prog="enogu plan", description="Show what a recipe would do and what is done already; nothing is run."
    )
    add_arguments(verb)
    verb.add_argument("--keys", action="store_true", help="a line for every tensor of every merge, too")
    verb.add_argument("--json", action="store_true", help="print one object per stage, with every tensor of a merge")
    return verb


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    plan = planned(args)
    merges = previews(plan, threads=plan.graph.recipe.machine.threads or cores())
    if args.json:
        told = {id: found.told() for id, found in merges.items() if found}
        stages = [{**asdict(one), "preview": told.get(one.id)} for one in forecast(plan, merges)]
        print(json.dumps(stages, indent=1))
    else:
        print("\n".join([shown(plan, merges), *previewed(merges, keys=args.keys)]))
    for line in cautions(plan):
        print(f"note: {line}", file=sys.stderr)
    return 0


def shown(plan: Plan, merges: Previews) -> str:
    """Return a plan as text: a row per stage, then what stands out."""
    stages = forecast(plan, merges)
    rows = [["stage", "state", "pictures", "steps", "time", "reads"]]
    for one in stages:
        rows.append([one.id, one.state, _count(one.images), _count(one.steps), _time(one), _reads(one)])
    left = [one for one in stages if one.state != "done"]
    known = sum(one.seconds for one in left if one.seconds is not None)
    unknown = sum(one.seconds is None for one in left)
    cost = f": {duration(known)}, as timed here" if known else ""
    untimed = f"; never timed here: {unknown}" if unknown else ""
    return f"{table(rows, '<<>>><')}\n\nto run: {len(left)} of {len(stages)}{cost}{untimed}\nin {plan.work}"


def previewed(merges: Previews, *, keys: bool) -> Iterator[str]:
    """Yield what each merge would do, every tensor if asked for."""
    for id, found in merges.items():
        yield f"\n{id}"
        unknown = ("it reads what is not made yet: what becomes of each tensor is told when that is there",)
        yield from (f"  {line}" for line in (found.lines(keys=keys) if found else unknown))


def _count(number: int | None) -> str:
    return f"{number:,}" if number is not None else ""


def _time(one: Forecast) -> str:
    return duration(one.seconds) if one.seconds is not None else ""


def _reads(one: Forecast) -> str:
    return ", ".join(one.reads) if len(one.reads) <= 6 else f"{len(one.reads)} stages"
