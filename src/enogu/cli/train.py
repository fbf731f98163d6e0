"""`enogu train RECIPE STAGE`: run one training stage and what it stands on."""

import argparse

from enogu.cli.parser import Parser
from enogu.cli.recipes import add_arguments, planned
from enogu.cli.run import execute


def parser() -> argparse.ArgumentParser:
    """Return the arguments of this verb."""
    verb = Parser(prog="enogu train", description="Run one training stage of a recipe.")
    add_arguments(verb)
    verb.add_argument("stage", metavar="STAGE", help="the NAME of a table [train.NAME]")
    return verb


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    return execute(planned(args), [f"train.{args.stage.removeprefix('train.')}"])
