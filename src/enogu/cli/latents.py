"""`enogu latents`: compare buckets before encoding, help a run to encode, look at records, check and repair them."""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from enogu.cli.parser import Parser
from enogu.cli.progress import ProgressLine
from enogu.cli.recipes import add_arguments, planned
from enogu.cli.run import machine
from enogu.cli.table import table
from enogu.core.records.errors import Failed, Refused
from enogu.core.records.job import Job
from enogu.core.records.posts import read_manifest
from enogu.core.records.shards import Shards
from enogu.latents.buckets import TABLES, picked_sides
from enogu.latents.config import LatentsConfig
from enogu.latents.stage import assist
from enogu.latents.statistics import bucket_table, pixel_figures
from enogu.latents.survey import survey
from enogu.recipe.done import FILE


def parser() -> argparse.ArgumentParser:
    """Return the arguments of this verb."""
    verb = Parser(prog="enogu latents", description="Encode, look at, check and repair latents.")
    subverbs = verb.add_subparsers(required=True)
    for name, line, do in (
        ("show", "buckets, pixels kept, what was skipped", _show),
        ("verify", "read every record and compare its checksum", _verify),
        ("repair", "take damaged records out, so that the next run makes them anew", _repair),
    ):
        subverb = subverbs.add_parser(name, help=line, description=line)
        subverb.add_argument("folder", type=Path, metavar="FOLDER", help="the stage's folder")
        subverb.add_argument("--json", action="store_true", help="for another program to read")
        subverb.set_defaults(do=do)
    line = "what each table of buckets would do to the pictures of a posts stage"
    buckets = subverbs.add_parser("buckets", help=line, description=line)
    buckets.add_argument("folder", type=Path, metavar="FOLDER", help="the posts stage's folder")
    buckets.add_argument("--side", type=int, default=512, help="of the square bucket (512)")
    buckets.add_argument("--step", type=int, default=64, help="sides are multiples of it (64)")
    buckets.set_defaults(do=_buckets)
    line = "encode what no other process has taken of a latents stage, beside `enogu run` here or on another machine"
    encode = subverbs.add_parser("encode", help="help a run to encode", description=line)
    add_arguments(encode)
    encode.add_argument("stage", metavar="STAGE", help="latents.NAME or NAME")
    encode.set_defaults(do=_encode)
    return verb


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    status: int = args.do(args)
    return status


def _show(args: argparse.Namespace) -> int:
    shards = Shards(args.folder)
    buckets, figures, skipped = bucket_table(shards.index), pixel_figures(shards.index), _reasons(shards.folder)
    if args.json:
        print(json.dumps({**figures, "skipped": skipped, "buckets": buckets.to_dicts()}, indent=1))
        return 0
    rows = [["bucket", "pictures", "kept", "enlarged"]]
    rows += [[f"{w}x{h}", f"{n:,}", f"{kept:.1%}", f"{more:,}"] for w, h, n, kept, more in buckets.iter_rows()]
    print(table(rows, "<>>>"))
    size = f"{len(shards.index):,} records, {figures['bytes'] / 1e6:,.1f} MB"
    print(f"\n{shards.index['post'].n_unique():,} pictures in {size}")
    print(f"{figures['kept']:.1%} of their pixels kept, {figures['megapixels']:.3g} megapixels each on average")
    for reason, count in skipped.items():
        print(f"skipped, {reason}: {count:,}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    shards = Shards(args.folder)
    progress = ProgressLine("latents", sys.stderr)
    problems = shards.verify(progress)
    progress.clear()
    if args.json:
        print(json.dumps({"records": len(shards.index), "problems": problems}, indent=1))
    elif not problems:
        print(f"{len(shards.index):,} records, all as they were written")
    if problems and not args.json:
        shown = "\n".join(problems[:20])
        rest = f"\nand {len(problems) - 20:,} more" if len(problems) > 20 else ""
        raise Failed(
            f"{len(problems):,} of {len(shards.index):,} records are damaged:\n{shown}{rest}\n"
            f"enogu latents repair {args.folder}"
        )
    return 1 if problems else 0


def _repair(args: argparse.Namespace) -> int:
    shards = Shards(args.folder)
    progress = ProgressLine("latents", sys.stderr)
    damaged = shards.damaged(progress)
    progress.clear()
    if len(damaged):
        (args.folder / FILE).unlink(missing_ok=True)  # first: the stage is whole no more
        shards.forget(damaged)
    if args.json:
        print(json.dumps({"records": len(shards.index), "taken_out": damaged.to_dicts()}, indent=1))
    elif len(damaged):
        print(f"{len(damaged):,} damaged records taken out; run the recipe again: it makes them anew, and only them")
    else:
        print(f"{len(shards.index):,} records, all as they were written")
    return 0


def _buckets(args: argparse.Namespace) -> int:
    frame = read_manifest(args.folder).frame.select("width", "height").drop_nulls()
    widths, heights = frame["width"].to_numpy(), frame["height"].to_numpy()
    if not len(widths):
        raise Refused(f"{args.folder} knows the size of no picture")
    area = args.side**2
    bounds: dict[str, dict[str, Any]] = {
        "free": {},
        f"sides <= {args.side}": {"max_side": args.side},
        "no upscaling": {"upscale": False},
    }
    rows = [["table", "sides", "shapes", "megapixels", "kept", "cropped", "enlarged", "left out"]]
    for name in sorted(TABLES, reverse=True):
        for bound, settings in bounds.items():
            if name == "everydream2" and ("max_side" in settings or args.side not in picked_sides()):
                continue  # its shapes are given
            config = LatentsConfig(posts="", model="", area=area, step=args.step, buckets=name, **settings)
            figures = survey(config.table, widths, heights)
            shares = [f"{figures[share]:.1%}" for share in ("kept", "cropped", "enlarged", "left_out")]
            rows.append([name, bound, f"{figures['shapes']:.0f}", f"{figures['megapixels']:.3g}", *shares])
    print(table(rows, "<<>>>>>>"))
    print(f"\n{len(frame):,} pictures; {area / 1e6:.3g} megapixels would be all of the area")
    return 0


def _encode(args: argparse.Namespace) -> int:
    plan = planned(args)
    id = plan.graph.find(args.stage)
    task = plan.tasks[id]
    if task.stage.kind != "latents":
        raise Refused(f"{id} is no latents stage; name one, as latents.NAME")
    waiting = [other for other in plan.graph.needed([id], lambda id: plan.tasks[id].done() is not None) if other != id]
    if waiting:
        raise Refused(f"{id} stands on {', '.join(waiting)}, not done yet; begin with: enogu run {args.recipe}")
    if task.done():
        print(f"{id}: done before")
        return 0
    device, threads = machine(plan.graph.recipe.machine)
    progress = ProgressLine(id, sys.stderr)
    job = Job(out=task.folder, inputs=plan.inputs(id), progress=progress, device=device, threads=threads)
    try:
        counts = assist(task.stage.config, job)
    except KeyboardInterrupt:
        progress.clear()
        print(f"\nenogu: stopped; what is encoded is kept in {task.folder}", file=sys.stderr)
        return 130
    progress.clear()
    print(f"{counts['pictures']:,} pictures encoded here; `enogu run {args.recipe}` ends the stage")
    return 0


def _reasons(folder: Path) -> dict[str, int]:
    path = folder / "skipped.jsonl"
    lines: list[dict[str, Any]] = (
        [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    )
    return dict(Counter(line["reason"] for line in lines))
