"""`enogu plan RECIPE`: what a recipe would do; nothing is run."""

import argparse
import json
import sys
from dataclasses import asdict

from enogu.cli.parser import Parser
from enogu.cli.progress import duration
from enogu.cli.recipes import add_arguments, planned
from enogu.cli.table import table
from enogu.recipe.cautions import cautions
from enogu.recipe.forecast import Forecast, forecast
from enogu.recipe.plan import Plan


def parser() -> argparse.ArgumentParser:
    """Return the arguments of this verb."""
    verb = Parser(
        prog="enogu plan", description="Show what a recipe would do and what is done already; nothing is run."
    )
    add_arguments(verb)
    verb.add_argument("--json", action="store_true", help="print one object per stage")
    return verb


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    plan = planned(args)
    print(json.dumps([asdict(one) for one in forecast(plan)], indent=1) if args.json else shown(plan))
    for line in cautions(plan):
        print(f"note: {line}", file=sys.stderr)
    return 0


def shown(plan: Plan) -> str:
    """Return a plan as text: a row per stage, then what stands out."""
    stages = forecast(plan)
    rows = [["stage", "state", "pictures", "steps", "time", "reads"]]
    for one in stages:
        rows.append([one.id, one.state, _count(one.images), _count(one.steps), _time(one), _reads(one)])
    left = [one for one in stages if one.state != "done"]
    known = sum(one.seconds for one in left if one.seconds is not None)
    unknown = sum(one.seconds is None for one in left)
    cost = f": {duration(known)}, as timed here before" if known else ""
    untimed = f"; never timed here: {unknown}" if unknown else ""
    return f"{table(rows, '<<>>><')}\n\nto run: {len(left)} of {len(stages)}{cost}{untimed}\nin {plan.work}"


def _count(number: int | None) -> str:
    return f"{number:,}" if number is not None else ""


def _time(one: Forecast) -> str:
    return duration(one.seconds) if one.seconds is not None else ""


def _reads(one: Forecast) -> str:
    return ", ".join(one.reads) if len(one.reads) <= 6 else f"{len(one.reads)} stages"
