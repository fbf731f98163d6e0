"""`enogu captions preview | tokens | texts | export`: what the model will read, how much of it fits, for whom else."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from enogu.captions.caption import Said, text
from enogu.captions.export import FORMS, Export, export
from enogu.captions.nl.stage import FAULTS
from enogu.captions.reading import Reader, reader
from enogu.captions.texts import NAMED
from enogu.captions.tokens import WINDOWS, token_ends
from enogu.cli.parser import Parser, counting_from
from enogu.cli.progress import ProgressLine
from enogu.cli.table import table
from enogu.core.records.errors import Refused
from enogu.core.records.files import read_json

SHOWN = 80  # characters of an answer


def parser() -> argparse.ArgumentParser:
    """Return the arguments of this verb."""
    verb = Parser(prog="enogu captions", description="Look at the captions of a finished stage.")
    ways = verb.add_subparsers(required=True)
    preview = _way(
        ways, "preview", "captions as training reads them, epoch by epoch; [75] stands where a window ends", do=_preview
    )
    preview.add_argument("posts", type=int, nargs="*", default=[], metavar="POST", help="default: the first few")
    preview.add_argument("--set", help="which caption of a post (default: tags, or else the first)")
    preview.add_argument("--epochs", type=counting_from(0), default=3, help="how many reads of each (default: 3)")
    preview.add_argument("--seed", type=int, default=0, help="the seed of training (default: 0)")
    preview.add_argument("--json", action="store_true", help="a line of JSON per read, for another program")
    tokens = _way(ways, "tokens", "the token report", do=_tokens)
    tokens.add_argument("--json", action="store_true", help="for another program")
    _way(
        ways,
        "texts",
        "which sentences (or answers, for the folder of an [nl] stage) were not fit to be said, and why",
        do=_texts,
    )
    out = _way(ways, "export", "captions for kohya's trainers", do=_export)
    out.add_argument("posts", type=Path, help="the folder of the posts stage that they are of")
    out.add_argument("out", type=Path, help="a folder for .txt files (the images' own: beside them), or a file")
    out.add_argument("--form", choices=FORMS, default="txt", help="default: txt")
    out.add_argument("--set", default="tags", help="which caption of a post (default: tags)")
    out.add_argument("--mark", action="store_true", help="write ||| around what is shuffled (keep_tokens_separator)")
    out.add_argument("--overwrite", action="store_true", help="replace captions that are there already")
    return verb


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    described = args.do is _texts and (args.folder / FAULTS).exists()  # an [nl] stage
    if not described and not (args.folder / "captions.json").exists():
        raise Refused(f"{args.folder} is no finished captions stage: it has no captions.json")
    status: int = args.do(args)
    return status


def _way(ways: Any, name: str, told: str, *, do: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
    way: argparse.ArgumentParser = ways.add_parser(name, help=told, description=told)
    way.set_defaults(do=do)
    way.add_argument("folder", type=Path, help="the folder of a finished captions stage")
    return way


def _preview(args: argparse.Namespace) -> int:
    read = reader(args.folder, args.seed)
    name = args.set or ("tags" if "tags" in read.sets else next(iter(read.sets)))
    for post in args.posts or read.posts[:5].tolist():
        reads = [("written", read.written(post, name))]
        reads += [(f"epoch {epoch}", read.drawn(post, epoch=epoch, set=name)) for epoch in range(args.epochs)]
        if not args.json:
            print(f"post {post}")
        for when, said in reads:
            print(
                _as_json(read, post, name, when=when, said=said) if args.json else _as_line(read, name, when, said=said)
            )
    return 0


def _as_line(read: Reader, name: str, when: str, *, said: Said) -> str:
    rules = read.sets[name]
    ends = token_ends([word.text for word in said], rules.separator)
    marked = list(said)
    for window in reversed(WINDOWS):
        place = next((place for place, end in enumerate(ends) if end > window), None)
        if place is not None:
            marked[place] = said[place]._replace(text=f"[{window}] {marked[place].text}")
    return f"  {when:<9}{ends[-1] if ends else 0:>4} tokens  {text(marked, rules) or '(dropped)'}"


def _as_json(read: Reader, post: int, name: str, *, when: str, said: Said) -> str:
    groups: dict[str, list[str]] = {}
    for word in said:
        groups.setdefault(word.group, []).append(word.text)
    caption = text(said, read.sets[name])
    return json.dumps(
        {"post": post, "set": name, "read": when, "caption": caption, "groups": groups}, ensure_ascii=False
    )


def _tokens(args: argparse.Namespace) -> int:
    report = read_json(args.folder / "tokens.json")
    if args.json:
        print(json.dumps(report))
        return 0
    heads = ["set", "posts", "mean", "p50", "p95", "longest", *(f"over {window}" for window in WINDOWS)]
    rows = [
        [name, *(f"{one[key]:,}" for key in ("posts", "mean", "p50", "p95", "longest")), *_over(one)]
        for name, one in report.items()
    ]
    print(table([heads, *rows], "<" + ">" * (len(heads) - 1)))
    said = read_json(args.folder / "captions.json")["groups"]
    print(f"\nposts that say something of a group: {_counts(said)}")
    for name, one in report.items():
        if one["posts"] < one["of"]:
            print(f"\n{name}: a sample of {one['posts']:,} of {one['of']:,} captions")
        for window in (window for window in one["windows"] if window["posts_over"]):
            print(f"\n{name}: beyond {window['tokens']} tokens: {_counts(window['most_cut'])}")
            print(f"  by group: {_counts(window['groups_cut'])}")
            print(f"  cut by priority instead: {_counts(window['groups_cut_by_priority']) or 'nothing'}")
    return 0


def _texts(args: argparse.Namespace) -> int:
    if (args.folder / FAULTS).exists():
        return _faults(args.folder)
    texts = read_json(args.folder / "captions.json")["texts"]
    if not texts:
        print("these captions say no sentences; a group of them, such as `text`, must stand in an `order`")
    for group, told in texts.items():
        print(f"{group}: {_counts(told['kinds']) or 'none'}")
        for row in told["refused"]:
            print(f"  post {row['post']}: {row['kind']}: {row['text']}")
    return 0


def _faults(folder: Path) -> int:
    """Show the first answers of an [nl] stage's program that were no sentences."""
    faults = pl.scan_parquet(folder / FAULTS)
    print(f"{faults.select(pl.len()).collect().item():,} answers were not fit to be said, or did not come")
    for row in faults.head(NAMED).collect().iter_rows(named=True):
        post = "no post" if row["post"] is None else f"post {row['post']}"
        print(f"  {post}: {row['fault']}" + (f": {row['text'][:SHOWN]}" if row["text"] else ""))
    return 0


def _export(args: argparse.Namespace) -> int:
    made = Export(reader(args.folder, 0), args.posts, args.set, mark=args.mark)
    line = ProgressLine("export", sys.stderr)
    export(made, args.out, args.form, overwrite=args.overwrite, progress=line)
    line.clear()
    print(f"{len(made):,} captions of the set {args.set!r} are in {args.out}")
    if made.torn:
        print(f"{made.torn:,} words have a comma of their own: they will be read as two", file=sys.stderr)
    return 0


def _over(one: dict[str, list[dict[str, float]]]) -> list[str]:
    return [f"{window['share_over']:.1%}" for window in one["windows"]]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.items())
