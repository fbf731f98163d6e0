"""`enogu merge 'FORMULA' NAME=FILE ... -o OUT`: merge checkpoints by a formula."""

import argparse
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from enogu.cli.known_hashes import known_hashes
from enogu.cli.output import new_file
from enogu.cli.parser import Parser
from enogu.cli.progress import ProgressLine
from enogu.core.networks.header import open_read
from enogu.core.records.errors import Refused, unknown
from enogu.merge.config import DTYPES, PRECISIONS, MergeConfig
from enogu.merge.preview import preview
from enogu.merge.replay import read_replay
from enogu.merge.replay_files import find_files
from enogu.merge.replay_records import Wanted
from enogu.merge.report import summary, text
from enogu.merge.stage import merge

EXAMPLE = """examples:
  enogu merge 'base + 0.6*(tuned - base)' base=base.safetensors tuned=tuned.safetensors -o mixed.safetensors
  enogu merge 'mean("pool/*.safetensors")' -o soup.safetensors
  enogu merge '(a + b)/2' a=38942904e9 b=b.safetensors --models models/ -o half.safetensors
  enogu merge --replay theirs.safetensors --models models/ --plan"""
REPEATED = ("dtype", "precision", "vae", "text", "seed")  # settings that a recipe holds
HASH = re.compile(r"[0-9a-fA-F]{8,64}")


def parser() -> argparse.ArgumentParser:
    """Return the arguments of this verb."""
    verb = Parser(
        prog="enogu merge",
        description="Merge checkpoints by a formula.",
        epilog=EXAMPLE,
    )
    verb.add_argument(
        "formula", metavar="FORMULA", nargs="?", default="", help="what to compute, or @FILE to read it from a file"
    )
    verb.add_argument(
        "models",
        metavar="NAME=FILE",
        nargs="*",
        help="the models that the formula names; NAME=SHA256 looks in --models",
    )
    verb.add_argument(
        "--replay", type=Path, metavar="FILE", help="repeat the merge whose recipe FILE holds (or .mecha)"
    )
    verb.add_argument(
        "--models",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        dest="folders",
        help="where models are looked for by hash",
    )
    verb.add_argument("-o", "--out", type=Path, metavar="OUT", help="the file to write")
    verb.add_argument("--plan", action="store_true", help="show what would become of each tensor and stop")
    verb.add_argument("--keys", action="store_true", help="with --plan: a line for every tensor, too")
    verb.add_argument("--json", action="store_true", help="print the plan as JSON, with every tensor")
    verb.add_argument("--dtype", choices=DTYPES, default="same", help="of the result (default: as the first model)")
    verb.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the arithmetic (default: fp32)")
    verb.add_argument(
        "--vae", default="first", metavar="NAME", help="'first' (default), a model, or 'formula' to blend"
    )
    verb.add_argument("--text", default="first", metavar="NAME", help="the same for the text encoders (default: first)")
    verb.add_argument("--keep-nonfinite", action="store_true", help="let NaN and infinities through")
    verb.add_argument("--mmap", action="store_true", help="map files into memory instead of reading them")
    verb.add_argument("--seed", type=int, default=0, help="of methods that draw at random (default: 0)")
    return verb


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    if args.replay:
        config, files = _replayed(args)
    else:
        bound = _files(args.models, args.folders)
        config, found = _config(args).spelt_out(Path(), bound)
        files = {**bound, **found}
    if args.plan:
        seen = preview(config, files, args.out, threads=os.cpu_count() or 1)
        print(json.dumps(seen.told(), indent=1) if args.json else "\n".join(seen.lines(keys=args.keys)))
        return 0
    line = ProgressLine("merge", sys.stderr)
    known = known_hashes()
    out, threads = _out(args.out), os.cpu_count() or 1
    plan, written = merge(config, files, out, threads=threads, mapped=args.mmap, known=known, progress=line)
    known.remember()
    line.clear()
    result = {**summary(plan), "out": str(args.out), "data_sha256": written.data_sha256}
    print(
        json.dumps(result, indent=1)
        if args.json
        else f"{text(plan)}\n{args.out}: sha256 of its tensors {written.data_sha256}"
    )
    return 0


def _config(args: argparse.Namespace) -> MergeConfig:
    if not args.formula:
        raise Refused("say what to merge: enogu merge 'FORMULA' NAME=FILE ... -o OUT, or --replay FILE")
    return MergeConfig(
        formula=_formula(args.formula),
        dtype=args.dtype,
        precision=args.precision,
        vae=args.vae,
        text=args.text,
        nonfinite="keep" if args.keep_nonfinite else "refuse",
        seed=args.seed,
    )


def _replayed(args: argparse.Namespace) -> tuple[MergeConfig, dict[str, Path]]:
    """Read the recipe of a file and find its models: those that are named by hand, the others by hash."""
    usual = parser()
    for name in REPEATED:
        if (said := getattr(args, name)) != usual.get_default(name):
            raise Refused(f"--{name} {said}: --replay repeats the merge as its recipe has it; leave the option out")
    replay = read_replay(args.replay)
    told = [f"{replay.origin}'s recipe as a formula:", *replay.config.formula.splitlines()]
    print("\n".join([told[0], *(f"  {line}" for line in told[1:])]), file=sys.stderr)
    for note in replay.notes:
        print(f"note: {note}", file=sys.stderr)
    given = _files([*([args.formula] if args.formula else []), *args.models], args.folders)
    if stray := given.keys() - replay.models.keys():
        raise unknown("model of the recipe", min(stray), replay.models)
    for line in _others(given, replay.models):
        print(f"note: {line}", file=sys.stderr)
    left = {name: wanted for name, wanted in replay.models.items() if name not in given}
    files = {**given, **_found(left, args.folders)}
    config = replace(replay.config, nonfinite="keep") if args.keep_nonfinite else replay.config
    return config, {name: files[name] for name in replay.models}


def _others(given: dict[str, Path], wanted: Mapping[str, Wanted]) -> Iterator[str]:
    """Yield the files bound by hand that are not those of the recipe."""
    known = known_hashes()
    for name, path in given.items():
        asked = wanted[name].sha256
        if asked and path.is_file() and not (digest := known.of(path)).startswith(asked):
            yield f"{path} (sha256 {digest[:10]}) is not the {name} of the recipe (sha256 {asked[:10]})"
    known.remember()


def _formula(text: str) -> str:
    if not text.startswith("@"):
        return text
    with open_read(Path(text[1:])) as handle:
        return handle.read().decode("utf-8-sig", errors="replace")


def _files(pairs: list[str], folders: list[Path]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not equals or not name or not path or name in files:
            like = f": {shlex.quote(f'{Path(pair).stem}={pair}')}" if Path(pair).exists() else ""
            raise Refused(f"{pair!r}: bind each model once, as NAME=FILE{like}")
        files[name] = Path(path)
    by_hash = {
        name: Wanted(sha256=str(path).lower())
        for name, path in files.items()
        if HASH.fullmatch(str(path)) and not path.exists()
    }
    return {**files, **_found(by_hash, folders)}


def _found(wanted: dict[str, Wanted], folders: list[Path]) -> dict[str, Path]:
    if not wanted:
        return {}
    line = ProgressLine("hash", sys.stderr)
    known = known_hashes()
    found = find_files(wanted, folders, known, progress=line)
    known.remember()
    line.clear()
    return found


def _out(out: Path | None) -> Path:
    if out is None:
        raise Refused("say where to write with -o OUT, or look first with --plan")
    return new_file(out, "a merge")
