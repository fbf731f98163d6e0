"""`enogu posts stats`: what the chosen posts are, in tables."""

import argparse
import json
from pathlib import Path
from typing import Any

from enogu.cli.parser import counting_from
from enogu.cli.table import table
from enogu.core.records.posts import RATINGS

PAIRS = 12  # of tags, told


def arguments(way: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    way.add_argument("source", type=Path, help="a dump, a folder of images, or the folder of a finished posts stage")
    way.add_argument("query", nargs="?", default="", help="of these posts only: '1girl -comic score:>=10'")
    way.add_argument(
        "--top", type=counting_from(1), default=15, help="tags told of each category (default: 15, at most 30)"
    )


def show(told: dict[str, Any], top: int) -> None:
    """Print the tables."""
    ratings = [rating for rating in RATINGS if any(row[rating] for row in told["ratings"].values())]
    rows = [[source or "?", *(f"{row[rating]:,}" for rating in ratings)] for source, row in told["ratings"].items()]
    print(f"{told['posts']:,} posts\n\n" + table([["source", *ratings], *rows], "<" + ">" * len(ratings)))
    bar = max([*told["years"].values(), 1])
    rows = [[year, f"{count:,}", "#" * round(40 * count / bar)] for year, count in told["years"].items()]
    print("\n" + table([["year", "posts", ""], *rows], "<><"))
    for name, one in told["scores"].items():
        heads = [name, *next(iter(one["by_rating"].values()))]
        rows = [[rating, *(f"{value:,g}" for value in row.values())] for rating, row in one["by_rating"].items()]
        print("\n" + table([heads, *rows], "<" + ">" * (len(heads) - 1)))
    print("\ntags per post: " + ", ".join(f"{name} {value}" for name, value in told["tags_per_post"].items()))
    for kind, one in told["tags"].items():
        head = f"{kind} tags ({one['different']:,}; {one['once']:,} of one post)"
        rows = [[tag, f"{count:,}"] for tag, count in list(one["most_common"].items())[:top]]
        print("\n" + table([[head, "posts"], *rows], "<>"))
    _company(told)


def _company(told: dict[str, Any]) -> None:
    tags, both, gain = told["together"]["tags"], told["together"]["posts"], told["together"]["lift"]
    pairs = [(gain[i][j], tags[i], tags[j], both[i][j]) for i in range(len(tags)) for j in range(i)]
    pairs = sorted((pair for pair in pairs if pair[3]), reverse=True)[:PAIRS]
    if pairs:
        rows = [[one, other, f"{count:,}", f"{2**times:,.1f} x"] for times, one, other, count in pairs]
        print("\n" + table([["together", "", "posts", "than by chance"], *rows], "<<>>"))


def dump(told: dict[str, Any]) -> None:
    """Print all for another program."""
    print(json.dumps(told, ensure_ascii=False))
