"""The arguments of every verb that takes a recipe, and the plan they ask for."""

import argparse
from pathlib import Path

from enogu.core.records.errors import Refused
from enogu.recipe.plan import Plan, plan
from enogu.recipe.reading import read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add RECIPE, --mini, --set and --work to a verb."""
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="a TOML file")
    parser.add_argument("--mini", action="store_true", help="lay the recipe's table [mini] over it")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting: train.tuned.batch=8"
    )
    parser.add_argument("--work", type=Path, metavar="DIR", help="work folder (enogu-work/NAME beside the recipe)")


def planned(args: argparse.Namespace) -> Plan:
    """Return the plan of the recipe that the arguments name."""
    if args.work and args.work.exists() and not args.work.is_dir():
        raise Refused(f"--work {args.work}: a file; give the work folder, or a name for a new one")
    return plan(read(args.recipe, mini=args.mini, settings=args.set), args.work)
