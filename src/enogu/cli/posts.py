"""`enogu posts count | show | stats | duplicates | opt-out`: look at a source, or at a finished posts stage."""

import argparse
import json
import os
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from enogu.cli import posts_duplicates, posts_opt_out, posts_statistics
from enogu.cli.parser import Parser
from enogu.cli.table import table
from enogu.core.records.errors import Refused
from enogu.core.records.files import read_json
from enogu.core.records.posts import CATEGORIES, RATINGS
from enogu.core.records.progress import silent
from enogu.posts.config import PostsConfig, Where
from enogu.posts.importing import Tally, import_posts
from enogu.posts.query_syntax import parse
from enogu.posts.select import Funnel, Selection, select
from enogu.posts.sources import find
from enogu.posts.stage import opt_outs, relations, show
from enogu.posts.statistics import statistics
from enogu.posts.tag_index import TagIndex
from enogu.posts.tag_indexing import indexed
from enogu.recipe.parse import build
from enogu.recipe.problems import prefixed

MOST_COMMON = 15  # tags shown of each category
READING = ("read", "not on the blocklist")  # the steps of the funnel before any query
OF_THE_STAGE = ("aliases", "implications", "opt_out", "seed")  # of a finished one, for further queries


def parser() -> argparse.ArgumentParser:
    """Return the arguments of this verb."""
    verb = Parser(prog="enogu posts", description="Look at posts; opt out of their use.")
    ways = verb.add_subparsers(required=True)
    count = ways.add_parser("count", help="how many posts a query leaves, and what they are")
    count.add_argument("source", type=Path, help="a dump, a folder of images, or the folder of a finished posts stage")
    count.add_argument("query", nargs="?", default="", help="as in danbooru's search: '1girl -comic score:>=10'")
    count.add_argument(
        "--where", default="", help="""the query as in a recipe, as 'tags_all = ["1girl"], year = [2015, 2020]'"""
    )
    out = ways.add_parser("opt-out", help="take posts out of a work folder for good")
    posts_opt_out.arguments(out)
    stats = ways.add_parser("stats", help="ratings, years, scores, tags, and which tags go together")
    posts_statistics.arguments(stats)
    near = ways.add_parser("duplicates", help="groups of near pictures")
    posts_duplicates.arguments(near)
    one = ways.add_parser("show", help="what is known of some posts")
    one.add_argument("source", type=Path, help="as for count")
    one.add_argument("ids", type=int, nargs="+", metavar="ID")
    for way, do in (
        (count, _count),
        (one, _show),
        (stats, _stats),
        (near, posts_duplicates.run),
        (out, posts_opt_out.run),
    ):
        way.set_defaults(do=do)
    for way in (count, one, stats):
        way.add_argument("--format", default="auto", help="the format of the source, where its name does not tell")
    for way in (count, stats):
        way.add_argument("--aliases", metavar="TABLE", help="of tags, as in a recipe (of a finished stage: its own)")
        way.add_argument("--implications", metavar="TABLE", help="likewise")
    for way in (count, one, stats, near):
        way.add_argument("--json", action="store_true", help="for another program")
    return verb


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    status: int = args.do(args)
    return status


def _count(args: argparse.Namespace) -> int:
    """Tell how many posts a query leaves, step by step, and what they are."""
    posts, funnel = _chosen(args)
    if args.json:
        print(json.dumps({"funnel": funnel, **{name: dict(rows) for name, rows in _counts(posts).items()}}))
        return 0
    print(f"{_counted(args)}\n\n{show(funnel)}")
    for name, rows in _counts(posts).items():
        print("\n" + table([[name, "posts"], *([str(value), f"{count:,}"] for value, count in rows)], "<>"))
    return 0


def _stats(args: argparse.Namespace) -> int:
    """Tell what the chosen posts are; without a query, all that a finished stage chose, or all of a source."""
    if (args.source / "manifest.parquet").exists() and not args.query:
        told = statistics(pl.scan_parquet(args.source / "manifest.parquet"))
    else:
        everyone = Where(rating=RATINGS, deleted=True, banned=True, min_side=0, query=_query(args))
        with indexed_source(args.source, args.format) as (index, _):
            told = statistics(index.frame(_select(args, index, everyone).rows).lazy())
    if args.json:
        posts_statistics.dump(told)
    else:
        print(_counted(args))
        posts_statistics.show(told, args.top)
    return 0


def _show(args: argparse.Namespace) -> int:
    with indexed_source(args.source, args.format) as (index, _):
        found = pl.scan_parquet(index.path).filter(pl.col("id").is_in(args.ids)).sort("id").collect()
    if missing := sorted(set(args.ids) - set(found["id"])):
        raise Refused(f"no post {', '.join(map(str, missing))} in {args.source}")
    for post in found.to_dicts():
        print(json.dumps(post, ensure_ascii=False, default=str, indent=None if args.json else 2))
    return 0


def _chosen(args: argparse.Namespace) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return the posts that the query leaves, and the funnel: a finished stage shows its own."""
    if (args.source / "posts.json").exists() and not args.where and not args.query:
        rows = read_json(args.source / "posts.json")["funnel"]
        return pl.read_parquet(args.source / "manifest.parquet"), {row["step"]: row["left"] for row in rows}
    query = _query(args)
    where = build(Where, _where(args.where) | ({"query": query} if query else {}), "--where")
    with indexed_source(args.source, args.format) as (index, read):
        selection = _select(args, index, where)
        return index.frame(selection.rows).sort("id"), read | selection.funnel


def _counted(args: argparse.Namespace) -> str:
    """Say which posts are counted: a finished stage has those that it chose, and all that it read."""
    if not (args.source / "posts.json").exists():
        return f"of the posts of {args.source}:"
    asked = args.query or getattr(args, "where", "")
    return f"of all posts that {args.source} has read, chosen or not:" if asked else f"as {args.source} chose them:"


def _query(args: argparse.Namespace) -> str:
    """Return the query, or refuse it by its name, for the settings that hold it have another."""
    query: str = args.query
    with prefixed("query: "):
        parse(query)
    return query


def _select(args: argparse.Namespace, index: TagIndex, where: Where) -> Selection:
    """Choose as a stage would: a finished one is asked with its own tables of tags, opt-outs and seed."""
    about = args.source / "posts.json"
    told = read_json(about)["query"] if about.exists() else {}
    told = {name: told[name] for name in OF_THE_STAGE if name in told}
    told |= {name: path for name in ("aliases", "implications") if (path := getattr(args, name)) is not None}
    config = PostsConfig(source=str(args.source), **told)
    barred = opt_outs(config, args.source.resolve().parent) if about.exists() else ()
    selection = select(index, where, seed=config.seed, relations=relations(config), opted_out=barred)
    for note in selection.notes:
        print(f"enogu: {note}", file=sys.stderr)
    return selection


@contextmanager
def indexed_source(source: Path, form: str) -> Iterator[tuple[TagIndex, Funnel]]:
    """Read a source into a folder of passage, or open what a finished stage has read; with the funnel of reading."""
    with TemporaryDirectory() as folder:
        target = Path(folder) / "posts.parquet"
        if (source / "posts.json").exists():
            beside = source / "posts.index"
            index = indexed(source / "posts.parquet", beside if os.access(source, os.W_OK) else target.with_suffix(""))
            rows = read_json(source / "posts.json")["funnel"]
            yield index, {row["step"]: row["left"] for row in rows if row["step"] in READING}
            return
        path, kind = find(source, form)
        tally = import_posts(path, kind, target, config=PostsConfig(source=str(source)), progress=silent)
        _tell_skipped(tally)
        yield indexed(target), dict(zip(READING, (tally.read, tally.read - tally.blocked), strict=True))


def _tell_skipped(tally: Tally) -> None:
    """Tell what could not be read, and where it was met first."""
    first: dict[str, str] = {}
    with tally.skipped.open(encoding="utf-8") as lines:
        while len(first) < len(+tally.reasons) and (line := lines.readline()):
            row = json.loads(line)
            first.setdefault(row["reason"], row["at"])
    for reason, at in first.items():
        print(f"enogu: {tally.reasons[reason]:,} skipped, first {at}: {reason}", file=sys.stderr)


def _where(text: str) -> dict[str, object]:
    try:
        where: dict[str, object] = tomllib.loads(f"where = {{ {text} }}")["where"]
        return where
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"--where {text!r} is not TOML: {error}") from error


def _counts(posts: pl.DataFrame) -> dict[str, list[tuple[object, int]]]:
    counts = {
        "rating": posts["rating"].value_counts(sort=True).rows(),
        "year": posts["created_at"].dt.year().alias("year").value_counts().sort("year").rows(),
    }
    for kind in CATEGORIES:
        tags = posts.get_column(f"tags_{kind}").explode(empty_as_null=False).value_counts(sort=True)
        counts[f"{kind} tags"] = tags.head(MOST_COMMON).rows()
    return {name: [(value, number) for value, number in rows] for name, rows in counts.items() if rows}
