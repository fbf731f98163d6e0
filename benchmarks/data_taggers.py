"""Looking at pictures against the bare model: `python -m benchmarks.data_taggers [PICTURES]`.

The bare model runs on prepared inputs that lie in memory; the stage decodes, prepares, looks and writes. Both take the
same pictures, one after the other, in turns; the share is what decoding and writing leave of the model's rate.
"""

import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import onnx
import polars as pl
from onnx import TensorProto, helper

from enogu.core.networks.tagger import Vision
from enogu.core.records.files import write_json
from enogu.core.records.job import Job
from enogu.core.records.posts import MANIFEST_SCHEMA
from enogu.tagging.config import SightingsConfig
from enogu.tagging.stage import run_sightings

SIDE, TAGS, ROUNDS = 448, 10861, 3  # as the WD v3 taggers
WIDTHS = (3, 128, 256, 512, 1024)  # 11 GMAC a picture; a ViT-B over 784 patches, as WD ViT v3 is, has about 70


def make_tagger(folder: Path) -> None:
    """Write a convolutional network of random weights in the WD form."""
    rng = np.random.default_rng(0)
    nodes, constants, last = [helper.make_node("Transpose", ["x"], ["n"], perm=[0, 3, 1, 2])], [], "n"
    for number, (before, after) in enumerate(pairwise(WIDTHS)):
        weight = rng.normal(0, 1 / (9 * before) ** 0.5, (after, before, 3, 3)).astype(np.float32)
        constants.append(helper.make_tensor(f"w{number}", TensorProto.FLOAT, weight.shape, weight.tobytes(), raw=True))
        nodes.append(helper.make_node("Conv", [last, f"w{number}"], [f"c{number}"], strides=[2, 2], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        last = f"r{number}"
    head = rng.normal(0, 0.01, (WIDTHS[-1], TAGS)).astype(np.float32)
    constants.append(helper.make_tensor("head", TensorProto.FLOAT, head.shape, head.tobytes(), raw=True))
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["y"]),
    ]
    entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", SIDE, SIDE, 3])
    end = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", TAGS])
    graph = helper.make_graph(nodes, "stand-in", [entry], [end], constants)
    folder.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "model.onnx")
    rows = "".join(f"{number},tag_{number},{0 if number > 3 else 9},9\n" for number in range(TAGS))
    (folder / "selected_tags.csv").write_text("tag_id,name,category,count\n" + rows)


def make_posts(folder: Path, pictures: int) -> None:
    """Write JPEGs of one megapixel and a manifest."""
    rng = np.random.default_rng(1)
    (folder / "images").mkdir(parents=True)
    for number in range(pictures):
        rough = rng.integers(0, 255, (48, 64, 3), np.uint8)
        cv2.imwrite(str(folder / "images" / f"{number}.jpg"), cv2.resize(rough, (1152, 896)))
    frame = pl.DataFrame({"id": range(pictures), "rating": "general"})
    frame = frame.with_columns(image=pl.format("images/{}.jpg", "id"))
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in MANIFEST_SCHEMA.items() if name not in frame.columns]
    frame.with_columns(missing).select(*MANIFEST_SCHEMA).write_parquet(folder / "manifest.parquet")
    write_json(folder / "posts.json", {"root": str(folder)})


def main(pictures: int) -> None:
    """Print both rates and their ratio."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        make_tagger(root / "wd")
        make_posts(root / "posts", pictures)
        config = SightingsConfig(posts="p", taggers=("wd",))
        vision = Vision.open(root / "wd" / "model.onnx")
        inputs = [np.zeros((SIDE, SIDE, 3), np.float32)] * config.batch
        bare, whole = [], []
        for turn in range(ROUNDS):
            started = time.perf_counter()
            for _ in range(0, pictures, config.batch):
                vision.outputs(inputs)
            bare.append(pictures / (time.perf_counter() - started))
            started = time.perf_counter()
            run_sightings(
                config,
                Job(out=root / f"out{turn}", inputs={"posts": {"p": root / "posts"}, "taggers": {"wd": root / "wd"}}),
            )
            whole.append(pictures / (time.perf_counter() - started))
        print(f"bare model {median(bare):.1f}/s, whole stage {median(whole):.1f}/s: {median(whole) / median(bare):.0%}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 64)
