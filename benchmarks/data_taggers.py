"""Looking at pictures against the bare model: `python -m benchmarks.data_taggers [conv] [vit] [--rounds N]`.

The bare model runs on prepared inputs that lie in memory; the stage reads, decodes, prepares, looks and writes. They
take turns, so that a busy machine slows both. Loading the model is in neither: a real run looks at millions of
pictures. On a CPU, decoding takes its share of the same cores; `bound` is what is left of the bare rate after it.
"""

import argparse
import datetime
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import polars as pl
from onnx import TensorProto, helper

from benchmarks.data_audit import drawing
from benchmarks.side_by_side import machine
from enogu.core.networks.tagger import Vision
from enogu.core.records.files import write_json
from enogu.core.records.job import Job
from enogu.core.records.picture import read_picture
from enogu.core.records.posts import MANIFEST_SCHEMA
from enogu.tagging.config import SightingsConfig
from enogu.tagging.stage import run_sightings

SIDE, TAGS = 448, 10861  # as the WD v3 taggers
CONV_WIDTHS = (3, 128, 256, 512, 1024)
VIT_WIDTH, VIT_PATCH, VIT_BLOCKS = 768, 16, 17
DRAWN = 16  # pictures that differ; the rest are copies
BATCH = SightingsConfig(posts="", taggers=("",)).batch
CORES = os.cpu_count() or 1


class Graph:
    """Operators and random weights as they are added; every method returns the name of its result."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.rng = np.random.default_rng(0)

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def numbers(self, *values: int) -> str:
        """Add a shape or axes."""
        name = f"numbers_{len(self.constants)}"
        self.constants.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
        return name

    def weight(self, *shape: int) -> str:
        """Add a weight."""
        name, value = f"weight_{len(self.constants)}", self.rng.normal(0, 0.02, shape).astype(np.float32)
        self.constants.append(helper.make_tensor(name, TensorProto.FLOAT, shape, value.tobytes(), raw=True))
        return name

    def write(self, folder: Path, pooled: str, width: int) -> None:
        """Add the head and write a tagger in the WD form."""
        head = self.node("MatMul", pooled, self.weight(width, TAGS))
        self.nodes.append(helper.make_node("Sigmoid", [head], ["y"]))
        entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", SIDE, SIDE, 3])
        end = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", TAGS])
        graph = helper.make_graph(self.nodes, "stand-in", [entry], [end], self.constants)
        folder.mkdir(parents=True)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        onnx.save(model, folder / "model.onnx")
        rows = "".join(f"{number},tag_{number},{0 if number > 3 else 9},9\n" for number in range(TAGS))
        (folder / "selected_tags.csv").write_text("tag_id,name,category,count\n" + rows)


def conv(folder: Path) -> float:
    """Write four convolutions of stride 2; return GMAC a picture."""
    graph, cost, side = Graph(), 0, SIDE
    last = graph.node("Transpose", "x", perm=[0, 3, 1, 2])
    for before, after in pairwise(CONV_WIDTHS):
        last = graph.node("Conv", last, graph.weight(after, before, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1])
        last, side = graph.node("Relu", last), side // 2
        cost += side * side * 9 * before * after
    graph.write(folder, graph.node("Flatten", graph.node("GlobalAveragePool", last)), CONV_WIDTHS[-1])
    return cost / 1e9


def vit(folder: Path) -> float:
    """Write patches and as many MLPs as cost what a ViT-B costs with its attention; return GMAC a picture."""
    graph, tokens = Graph(), (SIDE // VIT_PATCH) ** 2
    last = graph.node("Transpose", "x", perm=[0, 3, 1, 2])
    last = graph.node("Conv", last, graph.weight(VIT_WIDTH, 3, VIT_PATCH, VIT_PATCH), strides=[VIT_PATCH, VIT_PATCH])
    last = graph.node("Transpose", graph.node("Reshape", last, graph.numbers(0, VIT_WIDTH, -1)), perm=[0, 2, 1])
    up, down = graph.weight(VIT_WIDTH, 4 * VIT_WIDTH), graph.weight(4 * VIT_WIDTH, VIT_WIDTH)
    for _ in range(VIT_BLOCKS):
        hidden = graph.node("Relu", graph.node("MatMul", last, up))
        last = graph.node("Add", last, graph.node("MatMul", hidden, down))
    graph.write(folder, graph.node("ReduceMean", last, graph.numbers(1), keepdims=0), VIT_WIDTH)
    return tokens * VIT_WIDTH * (3 * VIT_PATCH**2 + VIT_BLOCKS * 8 * VIT_WIDTH) / 1e9


CASES: MappingProxyType[str, tuple[Callable[[Path], float], int]] = MappingProxyType(
    {"conv": (conv, 64), "vit": (vit, 16)}  # and how many pictures a round looks at
)


@dataclass(frozen=True)
class Rates:
    """Pictures a second."""

    bare: float
    stage: float
    decoded: float  # and prepared, on all cores with nothing else

    @property
    def bound(self) -> float:
        """The share of the bare rate that cores which also decode can reach."""
        return self.decoded / (self.bare + self.decoded)


def make_posts(folder: Path, pictures: int) -> None:
    """Write JPEGs of one megapixel and a manifest."""
    (folder / "images").mkdir(parents=True)
    for number in range(pictures):
        path = folder / "images" / f"{number}.jpg"
        if number < DRAWN:
            drawing(number).save(path, quality=90)
        else:
            path.write_bytes((folder / "images" / f"{number % DRAWN}.jpg").read_bytes())
    frame = pl.DataFrame({"id": range(pictures), "rating": "general"})
    frame = frame.with_columns(image=pl.format("images/{}.jpg", "id"))
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in MANIFEST_SCHEMA.items() if name not in frame.columns]
    frame.with_columns(missing).select(*MANIFEST_SCHEMA).write_parquet(folder / "manifest.parquet")
    write_json(folder / "posts.json", {"root": str(folder)})


def bare_rate(vision: Vision, pictures: int) -> float:
    """Return pictures a second of the model alone."""
    inputs = [np.zeros((SIDE, SIDE, 3), np.float32)] * BATCH
    vision.outputs(inputs)
    started = time.perf_counter()
    for _ in range(0, pictures, BATCH):
        vision.outputs(inputs)
    return pictures / (time.perf_counter() - started)


def stage_rate(posts: Path, tagger: Path, out: Path) -> float:
    """Return pictures a second of the stage, from the end of the first batch to the written record."""
    seen: list[tuple[int, float]] = []
    job = Job(
        out=out,
        inputs={"posts": {"p": posts}, "taggers": {"wd": tagger}},
        progress=lambda done, total, what: seen.append((done, time.perf_counter())),
        threads=CORES,
    )
    summary = run_sightings(SightingsConfig(posts="p", taggers=("wd",)), job)
    first, started = seen[0]
    return float(summary["looked_at"] - first) / (time.perf_counter() - started)


def decode_rate(vision: Vision, paths: list[Path]) -> float:
    """Return pictures a second decoded and prepared, by processor time."""
    started = time.process_time()
    for path in paths:
        vision.prepare(read_picture(path))
    return CORES * len(paths) / (time.process_time() - started)


def measure(root: Path, tagger: Path, pictures: int, *, rounds: int) -> Rates:
    """Take turns, and return the medians."""
    vision = Vision.open(tagger / "model.onnx", threads=CORES)
    make_posts(root / "posts", pictures + BATCH)
    paths = sorted((root / "posts" / "images").iterdir())[:DRAWN]
    rates = [
        (
            bare_rate(vision, pictures),
            stage_rate(root / "posts", tagger, root / f"out{turn}"),
            decode_rate(vision, paths),
        )
        for turn in range(rounds)
    ]
    return Rates(*map(median, zip(*rates, strict=True)))


def main() -> None:
    """Run the cases that are named, all if none is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], default=[])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of the table")
    args = parser.parse_args()
    today = datetime.date.today().isoformat()
    lines = [f"# Taggers\n\n{machine()}, {today}. `python -m benchmarks.data_taggers {' '.join(args.cases)}`\n"]
    lines += [
        f"Pictures a second, medians of {args.rounds} turns: JPEG of 1,152 x 896, models of {SIDE} px in batches of "
        f"{BATCH}, ONNX Runtime on {CORES} cores.\n"
        "WD ViT v3 costs 78 GMAC a picture. The target is 90 % of the bare rate.\n",
        "| stand-in | GMAC | bare model | decoding alone | stage | of bare | bound |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    print(*lines, sep="\n", flush=True)
    for name in args.cases or CASES:
        make, pictures = CASES[name]
        with tempfile.TemporaryDirectory() as scratch:
            cost = make(Path(scratch) / "wd")
            rates = measure(Path(scratch), Path(scratch) / "wd", pictures, rounds=args.rounds)
        lines.append(
            f"| {name} | {cost:.0f} | {rates.bare:.2f} | {rates.decoded:.0f} | {rates.stage:.2f} "
            f"| {rates.stage / rates.bare:.0%} | {rates.bound:.0%} |"
        )
        print(lines[-1], flush=True)
    (args.out / f"data_taggers_{today}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
