"""Fake finished stages: small, but every file in the form that the rooms write."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from enogu.core.records.posts import CATEGORIES, MANIFEST_SCHEMA
from enogu.posts.statistics import statistics

COLOURS = {"red_shirt": (200, 40, 50), "blue_shirt": (40, 80, 200), "rabbit_ears": (250, 250, 250)}
PROMPTS = [["1girl", "red_shirt"], ["1girl", "blue_shirt"], ["1girl", "rabbit_ears", "red_shirt"]]
MODELS, SEEDS = ("base", "tuned", "half"), (1, 2, 3)

Draw = Callable[[list[str], int, tuple[int, int]], Image.Image]


def spoken(tags: list[str]) -> str:
    """Write a prompt that stresses what is new."""
    return ", ".join(tags).replace("rabbit_ears", "(rabbit ears:1.2)").replace("_", " ")


def plain(tags: list[str], seed: int, size: tuple[int, int]) -> Image.Image:
    """Draw a flat picture in the colour of its first tag, in alphabetical order, that has one."""
    colours = [COLOURS[tag] for tag in sorted(tags) if tag in COLOURS] or [(120, 120, 120)]
    return Image.new("RGB", size, colours[0])


@dataclass
class Lent:
    """Captions as the captions room would lend them: the tags of the prompts in turn."""

    sets: dict[str, object]

    def plain(self, post: int, set: str = "tags") -> str:
        """Return a post's caption."""
        assert set in self.sets
        return ", ".join(tag.replace("_", " ") for tag in PROMPTS[post % len(PROMPTS)])


def lend(folder: Path, seed: int) -> Lent:
    """Return the captions of a folder."""
    assert (folder / "tokens.json").exists()
    return Lent({"tags": None})


def write_json(path: Path, value: Any) -> None:
    """Write JSON at once: a test needs no fsync."""
    path.write_text(json.dumps(value), encoding="utf-8")


@dataclass
class Works:
    """A work folder that stages are added to."""

    root: Path
    draw: Draw = plain
    folders: dict[str, Path] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)

    def stage(self, id: str, reads: dict[str, dict[str, str]], **done: Any) -> Path:
        """Make a folder with its done.json; `reads` is {field: {name: id of a stage, or sha256}}."""
        folder = self.root / id.replace(".", "-")
        folder.mkdir(parents=True)
        self.hashes[id] = f"{len(self.hashes) * 0x9E3779B97F4A7C15 % 2**64:016x}"
        kind, _, name = id.partition(".")
        inputs = {f: {n: self.hashes.get(v, v) for n, v in names.items()} for f, names in reads.items()}
        record = {"id": id, "kind": kind, "name": name, "hash": self.hashes[id], "summary": {}, "seconds": 2.5,
                  "started": f"2024-01-28T10:00:{len(self.hashes):02d}+00:00", "inputs": inputs, "settings": {},
                  "outputs": {}}  # fmt: skip
        write_json(folder / "done.json", {**record, **done})
        self.folders[id] = folder
        return folder


def add_posts(works: Works, id: str = "posts.drawn", count: int = 30) -> None:
    """Add posts that carry the tags of the prompts in turn."""
    folder, rng = works.stage(id, {}), np.random.default_rng(0)
    rows = []
    for post in range(count):
        tags, size = PROMPTS[post % len(PROMPTS)], (int(rng.integers(80, 160)), int(rng.integers(80, 160)))
        image = folder / "images" / f"{post}.png"
        image.parent.mkdir(exist_ok=True)
        works.draw(tags, post, size).save(image)
        row: dict[str, Any] = dict.fromkeys(MANIFEST_SCHEMA)
        row |= {"id": post, "rating": "general", "image": f"images/{post}.png", "width": size[0], "height": size[1],
                "created_at": datetime(2024, 1, 1, tzinfo=UTC), **{f"tags_{c}": [] for c in CATEGORIES},
                "tags_general": tags}  # fmt: skip
        rows.append(row)
    frame = pl.DataFrame(rows, schema=MANIFEST_SCHEMA, orient="row")
    frame.write_parquet(folder / "manifest.parquet")
    frame.drop("sha256").write_parquet(folder / "posts.parquet")
    write_json(folder / "statistics.json", statistics(frame.lazy(), frame.lazy()))
    funnel = [
        {"step": "read", "left": count + 20},
        {"step": "rating", "left": count + 3},
        {"step": "image", "left": count},
    ]
    skips = {"truncated": 2, "missing": 1}
    write_json(folder / "posts.json", {"root": ".", "posts": count, "funnel": funnel, "skipped": skips})


def add_captions(works: Works, count: int = 30) -> None:
    """Add one set of captions."""
    folder = works.stage("captions.tags", {"posts": {"drawn": "posts.drawn"}})
    windows = [{"tokens": tokens, "share_over": 0.1 if tokens == 75 else 0.0} for tokens in (75, 150, 225)]
    bins = [{"from": 0, "to": 15, "posts": 4}, {"from": 30, "to": 45, "posts": 20}, {"from": 75, "to": 90, "posts": 6}]
    report = {"posts": count, "mean": 40.0, "p50": 38, "longest": 82, "histogram": bins, "windows": windows}
    write_json(folder / "tokens.json", {"tags": report})


def add_latents(works: Works) -> None:
    """Add an index over a few buckets."""
    folder = works.stage("latents.low", {"posts": {"drawn": "posts.drawn"}, "model": {"base": "f" * 64}})
    sizes = [(64, 64)] * 14 + [(56, 72)] * 8 + [(72, 56)] * 5 + [(48, 80)] * 3
    frame = pl.DataFrame({"post": range(30), "width": [w for w, _ in sizes], "height": [h for _, h in sizes]})
    frame.with_columns(flipped=pl.lit(False)).write_parquet(folder / "index.parquet")


def add_train(works: Works) -> None:
    """Add the metrics of two phases; the last line is cut as by a kill."""
    reads = {"start": {"base": "f" * 64}, "latents": {"low": "latents.low"}, "captions": {"tags": "captions.tags"}}
    folder, rng = works.stage("train.tuned", reads, seconds=151.0), np.random.default_rng(1)
    rows = []
    for images in range(0, 4001, 20):
        phase = "low" if images < 3000 else "high"
        row = {"images": images, "loss": 0.1 + 0.2 * np.exp(-images / 900) + rng.normal(0, 0.02), "phase": phase,
               "lr": 1e-3 * min(1, images / 400) * (1 if images < 3000 else 0.3)}  # fmt: skip
        if images % 500 == 0:
            row["val_loss"] = 0.12 + 0.15 * np.exp(-images / 1200)
        rows.append(json.dumps(row))
    (folder / "metrics.jsonl").write_text("\n".join(rows) + '\n{"images": 40')


def add_grid(works: Works) -> None:
    """Add samples in which base never draws rabbit ears, tuned always, half at one seed in three."""
    reads = {"models": {"base": "f" * 64, "tuned": "train.tuned", "half": "merge.half"}}
    folder = works.stage("grid.compare", reads, seconds=48.0)
    (folder / "images").mkdir()
    rows = []
    for model in MODELS:
        for index, tags in enumerate(PROMPTS):
            for seed in SEEDS:
                draws = {"base": False, "tuned": True, "half": seed == SEEDS[0]}[model]
                image = f"images/{model}-{index}-{seed}.png"
                drawn = tags if draws or "rabbit_ears" not in tags else [tag for tag in tags if tag != "rabbit_ears"]
                works.draw(drawn, seed + 100 * index, (64, 64)).save(folder / image)
                rows.append({"image": image, "model": model, "model_sha256": "0" * 64, "prompt_index": index,
                             "prompt": spoken(tags), "negative": "", "tags": tags, "seed": seed,
                             "width": 64, "height": 64, "steps": 20, "cfg": 5.0, "sampler": "Euler a"})  # fmt: skip
    types = {"prompt_index": pl.Int32, "width": pl.Int32, "height": pl.Int32, "steps": pl.Int32}
    pl.DataFrame(rows, schema_overrides=types).write_parquet(folder / "samples.parquet")


def make_works(root: Path, draw: Draw = plain) -> Works:
    """Make every stage up to the grid."""
    works = Works(root, draw)
    add_posts(works)
    add_captions(works)
    add_latents(works)
    add_train(works)
    works.stage("merge.half", {"models": {"base": "f" * 64, "tuned": "train.tuned"}},
                settings={"formula": "0.5*base + 0.5*tuned"})  # fmt: skip
    add_grid(works)
    return works


@pytest.fixture
def works(tmp_path: Path) -> Works:
    """Return every stage up to the grid."""
    return make_works(tmp_path / "work")


def write_tagger(folder: Path) -> Path:
    """Write a tagger that tells the flat pictures apart by the colour in the middle; it finds 1girl in all."""
    names = ["1girl", "red_shirt", "blue_shirt", "rabbit_ears"]
    weights = np.array([[0, -1, 1, 1], [0, -1, -1, 1], [0, 1, -1, 1]], np.float32) * 8  # rows: B, G, R
    weights[:, 0] = 0
    bias = np.array([2, -2, -2, -18], np.float32)
    nodes = [
        helper.make_node("Slice", ["x", "from", "to", "axes"], ["middle"]),  # where no padding is
        helper.make_node("ReduceMean", ["middle", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "scale"], ["bgr"]),
        helper.make_node("Gemm", ["bgr", "weights", "bias"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["y"]),
    ]
    constants = {
        "axes": np.array([1, 2]),
        "from": np.array([6, 6]),
        "to": np.array([10, 10]),
        "scale": np.array(255, np.float32),
        "weights": weights,
        "bias": bias,
    }
    takes = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 16, 16, 3])
    gives = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])
    held = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "colours", [takes], [gives], held)
    folder.mkdir()
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "model.onnx"
    )
    rows = "".join(f"{number},{name},0,100\n" for number, name in enumerate(names))
    (folder / "selected_tags.csv").write_text("tag_id,name,category,count\n" + rows)
    return folder


@pytest.fixture
def tagger(tmp_path: Path) -> Path:
    """Return the folder of the tagger that knows flat colours."""
    return write_tagger(tmp_path / "tagger")
