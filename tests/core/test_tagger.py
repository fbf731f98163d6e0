"""The WD14 reader: layout, colour order, padding, order of tags, pairs that do not fit."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from enogu.core.networks.tagger import Tagger
from enogu.core.records.errors import Refused

NAMES = ["general", "blueness", "greenness", "redness"]


def make_tagger(folder: Path, *, side: int = 8, batch: int | str = "N", names: list[str] = NAMES) -> Path:
    """Write a tagger whose last three outputs are the mean of input channels 0, 1, 2, over 255."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "scale"], ["bgr"]),
        helper.make_node("Pad", ["bgr", "pads"], ["y"]),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("scale", TensorProto.FLOAT, [], [255.0]),
        helper.make_tensor("pads", TensorProto.INT64, [4], [0, 1, 0, 0]),
    ]
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, side, side, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 4])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "model.onnx")
    with (folder / "selected_tags.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["tag_id", "name", "category", "count"])
        writer.writerows([i, name, 9 if i == 0 else 0, 100] for i, name in enumerate(names))
    return folder


def test_channels_arrive_as_bgr_in_0_to_255(tmp_path: Path) -> None:
    tagger = Tagger.load(make_tagger(tmp_path))
    picture = np.full((20, 20, 3), (255, 51, 0), np.uint8)
    found = tagger.probabilities([picture])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0, 0.0, 0.2, 1.0]], atol=1e-6)
    assert tagger.names == tuple(NAMES)
    assert tagger.kinds[0] == "rating"
    assert tagger.side == 8


def test_a_wide_picture_is_padded_to_a_centred_white_square(tmp_path: Path) -> None:
    tagger = Tagger.load(make_tagger(tmp_path))
    black = np.zeros((10, 40, 3), np.uint8)
    assert tagger.probabilities([black])[0, 1] == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize("batch", ["N", 1])
def test_batches_do_not_change_a_result(tmp_path: Path, batch: int | str) -> None:
    tagger = Tagger.load(make_tagger(tmp_path, batch=batch), threads=1)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (9, 7 + i, 3), np.uint8) for i in range(35)]
    together = tagger.probabilities(pictures)
    alone = np.concatenate([tagger.probabilities([picture]) for picture in pictures])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert tagger.probabilities([]).shape == (0, 4)


def test_thresholds_beside_the_model_are_used(tmp_path: Path) -> None:
    (make_tagger(tmp_path) / "thresholds.json").write_text(json.dumps({"redness": 0.6}))
    np.testing.assert_allclose(Tagger.load(tmp_path / "model.onnx").thresholds, [0.35, 0.35, 0.35, 0.6])


def test_files_that_are_no_pair_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"model\.onnx is missing"):
        Tagger.load(tmp_path)
    with pytest.raises(Refused, match=r"gives 4 tags but selected_tags\.csv names 2"):
        Tagger.load(make_tagger(tmp_path, names=["a", "b"]))


@pytest.mark.parametrize("spoil", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"no model"])
def test_a_broken_model_is_refused_by_its_name(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    model = make_tagger(tmp_path) / "model.onnx"
    model.write_bytes(spoil(model.read_bytes()))
    with pytest.raises(Refused, match=r"model\.onnx"):
        Tagger.load(tmp_path)


def test_a_model_that_does_not_say_how_many_tags_it_has_is_asked(tmp_path: Path) -> None:
    model = onnx.load(make_tagger(tmp_path) / "model.onnx")
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "tags"
    onnx.save(model, tmp_path / "model.onnx")
    assert Tagger.load(tmp_path).vision.width == 4


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("{", "cannot be read"),
        ("[1]", "no table"),
        ('{"redness": "a"}', "redness is 'a'"),
        ('{"redness": 35}', "redness is 35"),
        ('{"redniss": 0.35}', "did you mean 'redness'"),
    ],
)
def test_thresholds_that_cannot_be_are_refused(tmp_path: Path, written: str, why: str) -> None:
    (make_tagger(tmp_path) / "thresholds.json").write_text(written)
    with pytest.raises(Refused, match=why):
        Tagger.load(tmp_path)
