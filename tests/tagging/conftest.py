"""A few pictures as posts, taggers that see their mean colour, and jobs over them."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import TensorProto, helper
from PIL import Image

from enogu.core.records.files import write_json
from enogu.core.records.posts import MANIFEST_SCHEMA

COLOURS = {1: (255, 0, 0), 2: (0, 255, 0), 3: (0, 0, 255), 4: (255, 255, 0), 5: (128, 0, 0)}
BLUE, GREEN, RED = 0, 1, 2  # channels of a WD tagger's input


def model(path: Path, channels: list[int], *, divisor: float = 255.0) -> None:
    """Write a model in the WD form whose outputs are the means of input channels over a divisor."""
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("divisor", TensorProto.FLOAT, [], [divisor]),
        helper.make_tensor("chosen", TensorProto.INT64, [len(channels)], channels),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "divisor"], ["share"]),
        helper.make_node("Gather", ["share", "chosen"], ["y"], axis=1),
    ]
    entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8, 8, 3])
    end = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", len(channels)])
    graph = helper.make_graph(nodes, "means", [entry], [end], constants)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


def tagger(folder: Path, tags: Mapping[str, tuple[int, int]]) -> Path:
    """Write a tagger: {tag: (category, channel)}."""
    model(folder / "model.onnx", [channel for _, channel in tags.values()])
    with (folder / "selected_tags.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["tag_id", "name", "category", "count"])
        writer.writerows([number, tag, category, 9] for number, (tag, (category, _)) in enumerate(tags.items()))
    return folder


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    """A posts folder of five plain pictures, the last of them broken."""
    folder = tmp_path / "posts"
    (folder / "images").mkdir(parents=True)
    for post, colour in COLOURS.items():
        Image.fromarray(np.full((10, 10, 3), colour, np.uint8)).save(folder / "images" / f"{post}.png")
    (folder / "images" / "5.png").write_bytes(b"not a picture")
    rows = [
        {
            "id": post,
            "rating": "sensitive" if post == 2 else "general",
            "image": f"images/{post}.png",
            "tags_general": ["plain"],
            "created_at": None,
        }
        for post in COLOURS
    ]
    frame = pl.DataFrame(rows, schema_overrides={"tags_general": pl.List(pl.String)})
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in MANIFEST_SCHEMA.items() if name not in frame.columns]
    frame = frame.with_columns(missing).select(*MANIFEST_SCHEMA)
    frame.write_parquet(folder / "manifest.parquet")
    frame.drop("sha256").write_parquet(folder / "posts.parquet")
    write_json(folder / "posts.json", {"root": str(folder), "query": {}})
    return folder
