"""`enogu posts duplicates`: groups of near pictures among the chosen posts of a finished stage."""

import argparse
import json
from pathlib import Path

import polars as pl

from enogu.cli.parser import counting_from
from enogu.core.records.posts import read_manifest
from enogu.posts.duplicates import DISTANCE, best, grouped, seen


def arguments(way: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    way.add_argument("folder", type=Path, help="the folder of a finished posts stage")
    way.add_argument(
        "--distance", type=counting_from(0), default=DISTANCE, help=f"bits of 64 that may differ (default: {DISTANCE})"
    )
    way.add_argument("--top", type=counting_from(1), default=20, help="groups shown, the largest first (default: 20)")


def run(args: argparse.Namespace) -> int:
    """Group and show; * marks the post that where.distinct would keep."""
    posts = grouped(read_manifest(args.folder).frame, seen(args.folder), args.distance)
    kept = set(best(posts)["id"])
    groups = posts.group_by("group", maintain_order=True).agg("id", "image").filter(pl.col("id").list.len() > 1)
    groups = groups.sort(pl.col("id").list.len(), descending=True, maintain_order=True)
    if args.json:
        print(json.dumps({"posts": len(posts), "kept": len(kept), "groups": groups["id"].to_list()}))
        return 0
    inside = int(groups["id"].list.len().sum())
    print(
        f"{len(posts):,} posts; {inside:,} in {len(groups):,} groups of pictures {args.distance} bits apart or nearer;"
    )
    print(f"where.distinct = {args.distance} would keep {len(kept):,}")
    for _, ids, images in groups.head(args.top).iter_rows():
        members = zip(ids, images, strict=True)
        print("  " + "  ".join(f"{'*' if id in kept else ''}{id} {image}" for id, image in members))
    return 0
