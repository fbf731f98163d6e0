"""`enogu captions preview | tokens`: what the model will read, and how much of it fits."""

import argparse
import json
from pathlib import Path

import polars as pl

from enogu.captions.reading import reader
from enogu.captions.tokens import WINDOWS
from enogu.cli.table import table
from enogu.core.networks.tokenizer import tokenize
from enogu.core.records.errors import Refused
from enogu.core.records.files import read_json


def parser() -> argparse.ArgumentParser:
    """Return the arguments of this verb."""
    verb = argparse.ArgumentParser(prog="enogu captions", description="Look at the captions of a finished stage.")
    ways = verb.add_subparsers(dest="way", required=True)
    preview = ways.add_parser("preview", help="captions as training reads them, epoch by epoch")
    preview.add_argument("folder", type=Path, help="the folder of a finished captions stage")
    preview.add_argument("posts", type=int, nargs="*", metavar="POST", help="which posts; else the first few")
    preview.add_argument("--set", default="tags", help="which caption of a post (default: tags)")
    preview.add_argument("--epochs", type=int, default=3, help="how many reads of each (default: 3)")
    preview.add_argument("--seed", type=int, default=0, help="the seed of training (default: 0)")
    tokens = ways.add_parser("tokens", help="the token report")
    tokens.add_argument("folder", type=Path, help="the folder of a finished captions stage")
    tokens.add_argument("--json", action="store_true", help="for another program")
    return verb


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    if not (args.folder / "captions.json").exists():
        raise Refused(f"{args.folder} is no finished captions stage: it has no captions.json")
    return _preview(args) if args.way == "preview" else _tokens(args)


def _preview(args: argparse.Namespace) -> int:
    read = reader(args.folder, args.seed)
    posts = args.posts or pl.scan_parquet(args.folder / "captions.parquet").head(5).collect()["post"].to_list()
    for post in posts:
        print(f"post {post}")
        lines = [("written", read.plain(post, args.set))]
        lines += [(f"epoch {epoch}", read.caption(post, epoch=epoch, set=args.set)) for epoch in range(args.epochs)]
        for when, caption in lines:
            print(f"  {when:<9}{len(tokenize(caption)):>4} tokens  {caption}")
    return 0


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
    for name, one in report.items():
        for window in (window for window in one["windows"] if window["posts_over"]):
            cut = ", ".join(f"{word} ({count})" for word, count in window["most_cut"].items())
            print(f"\n{name}: beyond {window['tokens']} tokens: {cut}")
    return 0


def _over(one: dict[str, list[dict[str, float]]]) -> list[str]:
    return [f"{window['share_over']:.1%}" for window in one["windows"]]
