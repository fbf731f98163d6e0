"""`enogu run RECIPE [STAGE ...]`: run a recipe, or some of its stages."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from enogu.cli.console import Console
from enogu.cli.parser import Parser
from enogu.cli.recipes import add_arguments, planned
from enogu.cli.schedule import Schedule
from enogu.core.records.cluster import require
from enogu.core.records.errors import Refused
from enogu.recipe.config import MachineConfig
from enogu.recipe.forecast import forecast
from enogu.recipe.plan import Plan
from enogu.recipe.runner import run as run_plan


def parser() -> argparse.ArgumentParser:
    """Return the arguments of this verb."""
    verb = Parser(prog="enogu run", description="Run a recipe; stages that are finished are kept.")
    add_arguments(verb)
    verb.add_argument("stages", nargs="*", default=[], metavar="STAGE", help="KIND.NAME or NAME; all, if none is named")
    return verb


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    return execute(planned(args), args.stages)


def execute(plan: Plan, stages: Sequence[str], *, usual: Mapping[str, float] | None = None) -> int:
    """Run stages on this machine, showing how far they are; `usual` are seconds per stage, until timed here."""
    device, threads = machine(plan.graph.recipe.machine)
    timed = {one.id: one.seconds for one in forecast(plan) if one.seconds is not None}
    console = Console(Schedule({**(usual or {}), **timed}))
    try:
        run_plan(plan, stages, watch=console, device=device, threads=threads)
    except KeyboardInterrupt:
        console.clear()
        print(f"\nenogu: stopped; what is done is kept in {plan.work}: the same command goes on", file=sys.stderr)
        return 130  # 128 + SIGINT, as shells count
    finally:
        console.clear()
    return 0


def machine(config: MachineConfig) -> tuple[str, int]:
    """Return the device and the number of threads to use, after telling PyTorch of both."""
    import torch  # the verbs that run nothing do without it

    if config.cluster:
        require()
    threads = config.threads or cores()
    torch.set_num_threads(threads)
    available = torch.cuda.is_available()
    if config.device == "cuda" and not available:
        raise Refused('machine.device = "cuda": PyTorch finds no CUDA device here; say "auto" or "cpu"')
    return ("cuda" if available and config.device != "cpu" else "cpu"), threads


def cores() -> int:
    """Return the cores this process may use; macOS cannot say, so there it is all of them."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
