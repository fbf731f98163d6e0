"""`enogu posts opt-out`: take posts out of a work folder, and say what cannot be undone."""

import argparse
from pathlib import Path

from enogu.core.records.errors import Refused
from enogu.posts.opt_out import read_list, read_post
from enogu.recipe.withdrawal import withdraw


def arguments(way: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    way.add_argument("work", type=Path, help="the work folder of a recipe")
    way.add_argument("posts", nargs="*", default=[], metavar="POST", help="an id, or site/id as in danbooru/123")
    way.add_argument("--file", type=Path, help="a list of posts, one a line")


def run(args: argparse.Namespace) -> int:
    """Withdraw, then tell."""
    posts = {read_post(text, "opt-out") for text in args.posts}
    posts |= read_list(args.file) if args.file else set()
    if not posts:
        raise Refused("name the posts, as danbooru/123, or give a list by --file")
    told = withdraw(args.work, posts)
    for name, count in told.removed.items():
        print(f"removed {count:,} of {name}")
    for name in told.cleared:
        print(f"cleared {name}: the next run makes it anew")
    if not told.removed and not told.cleared:
        print("nothing here holds these posts; they are on the list all the same")
    if told.learnt or told.gone:
        print("\nThese have learnt from the posts already, and nothing can take that back but training anew:")
        for name in (*told.learnt, *(f"{one}, no longer here" for one in told.gone)):
            print(f"  {name}")
    return 0
