"""The data: how many posts were left after each step, buckets to scale, token lengths, a sheet of pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import polars as pl

from enogu.core.records.files import read_json
from enogu.core.records.picture import PictureError
from enogu.core.records.posts import read_manifest
from enogu.core.records.seed import generator
from enogu.judge.captions import Captions
from enogu.judge.report.bars import along, columns
from enogu.judge.report.charts import Chart
from enogu.judge.report.embedding import data_uri
from enogu.judge.report.folders import Finished
from enogu.judge.report.scales import short
from enogu.judge.report.statistics import Statistics, statistics

TALLEST = 92.0  # of a bucket in the page, in pixels


@dataclass(frozen=True)
class Posts:
    """One posts stage: the funnel as (step, left, share of the first) and what was skipped."""

    stage: Finished
    count: int
    funnel: tuple[tuple[str, int, float], ...]
    skipped: Mapping[str, int]
    statistics: Statistics


@dataclass(frozen=True)
class Bucket:
    """One bucket, drawn to scale; `weight` is its share against the fullest."""

    width: int
    height: int
    images: int
    drawn_width: float
    drawn_height: float
    weight: float


@dataclass(frozen=True)
class Latents:
    """One latents stage and its buckets, widest first."""

    stage: Finished
    images: int
    buckets: tuple[Bucket, ...]


@dataclass(frozen=True)
class Picture:
    """One picture of the data sheet with its caption."""

    uri: str
    caption: str
    post: int


def posts(stage: Finished) -> Posts:
    """Read a posts stage."""
    written = read_json(stage.folder / "posts.json")
    steps = _telling([(row["step"], row["left"]) for row in written["funnel"]])
    most = max([left for _, left in steps] or [1]) or 1
    funnel = tuple((step, left, left / most) for step, left in steps)
    return Posts(stage, written["posts"], funnel, written["skipped"], statistics(stage))


def _telling(steps: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Leave out the steps that lost nothing, but not the first and the last."""
    after = [(*two, before) for two, (_, before) in zip(steps[1:-1], steps, strict=False)]
    return [*steps[:1], *((step, left) for step, left, before in after if left < before), *steps[1:][-1:]]


def latents(stage: Finished) -> Latents:
    """Read a latents stage's index."""
    index = pl.read_parquet(stage.folder / "index.parquet").filter(~pl.col("flipped"))
    table = index.group_by("width", "height").len().with_columns(ratio=pl.col("width") / pl.col("height"))
    rows = table.sort("ratio", descending=True).select("width", "height", "len").rows()
    longest = max((max(width, height) for width, height, _ in rows), default=1)
    most = max((count for *_, count in rows), default=1)
    unit = TALLEST / longest
    return Latents(stage, len(index), tuple(Bucket(w, h, n, w * unit, h * unit, n / most) for w, h, n in rows))


def tokens(stage: Finished) -> list[Chart]:
    """Read a captions stage's token report: a histogram per caption set."""
    reports: dict[str, Any] = read_json(stage.folder / "tokens.json")
    return [replace(_lengths(report), aside=f"{stage.name}, set “{name}”") for name, report in reports.items()]


def _lengths(report: Mapping[str, Any]) -> Chart:
    counts = {(row["from"], row["to"]): row["posts"] for row in report["histogram"]}
    size = next((end - start for start, end in counts), 1)
    last = max([end for _, end in counts] or [size])
    edges = list(range(0, last + 1, size))
    limits = [window["tokens"] for window in report["windows"] if window["tokens"] < last]
    shares = [(100 * window["share_over"], window["tokens"]) for window in report["windows"] if window["share_over"]]
    over = ", ".join(f"{short(share)} % are longer than {tokens}" for share, tokens in shares) or "All fit one chunk"
    note = f"Median {report['p50']}, longest {report['longest']}. {over}."
    heights = [counts.get(bin_, 0) for bin_ in pairwise(edges)]
    axis = along("CLIP tokens", edges)
    return columns("Token lengths", edges, heights, axis=axis, limits=limits, note=note)


def sheet(posts_stage: Finished, captions: Captions | None, *, count: int, side: int) -> list[Picture]:
    """Return pictures drawn at random, but the same every time, with their captions."""
    manifest = read_manifest(posts_stage.folder)
    name = next((name for name in ("tags", *captions.sets) if name in captions.sets), "") if captions else ""
    order = generator(0, "report.sheet").permutation(len(manifest.frame))
    pictures: list[Picture] = []
    for row in order:
        if len(pictures) == count:
            break
        post = int(manifest.frame["id"][int(row)])
        try:
            uri = data_uri(manifest.image(int(row)), side=side)
        except PictureError:
            continue
        pictures.append(Picture(uri, captions.plain(post, name) if captions else "", post))
    return pictures
