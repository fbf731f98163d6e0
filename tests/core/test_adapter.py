"""Adapters: what a model is shown, in its own layout and colours, and what its numbers are called."""

import json
from pathlib import Path

import numpy as np
import pytest

from enogu.core.networks.adapter import Adapter, adapter, known
from enogu.core.records.errors import Refused

PICTURE = np.full((20, 40, 3), (255, 128, 0), np.uint8)


def test_without_a_file_it_is_a_wd_tagger(tmp_path: Path) -> None:
    assert adapter(tmp_path / "adapter.toml") == known()["wd"]
    shown = known()["wd"].prepare(PICTURE, 16)
    assert shown.shape == (16, 16, 3)
    np.testing.assert_array_equal(shown[8, 8], [0, 128, 255])
    np.testing.assert_array_equal(shown[0, 0], [255, 255, 255])


def test_clip_is_shown_a_normalised_centre() -> None:
    shown = known()["clip"].prepare(PICTURE, 16)
    assert shown.shape == (3, 16, 16)
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    expected = [(value / 255 - m) / s for value, m, s in zip((255, 128, 0), mean, std, strict=True)]
    np.testing.assert_allclose(known()["clip"].prepare(PICTURE, 16)[:, 8, 8], expected, atol=1e-5)


def test_cl_tagger_is_shown_minus_one_to_one_in_bgr() -> None:
    shown = known()["cl-tagger"].prepare(PICTURE, 16)
    np.testing.assert_allclose(shown[:, 8, 8], [-1, 128 / 127.5 - 1, 1], atol=1e-6)


def test_stretching_keeps_every_pixel_and_area_averages() -> None:
    halves = np.concatenate([np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 200, np.uint8)], axis=1)
    shown = Adapter(fit="stretch", resize="area").prepare(halves, 2)
    np.testing.assert_array_equal(shown[0, :, 0], [0, 200])


def test_activations_by_their_definitions() -> None:
    logits = np.array([[0.0, np.log(3.0)]], np.float32)
    np.testing.assert_allclose(Adapter(activation="sigmoid").finish(logits), [[0.5, 0.75]], atol=1e-6)
    np.testing.assert_allclose(Adapter(activation="softmax").finish(logits), [[0.25, 0.75]], atol=1e-6)


@pytest.mark.parametrize(
    "written",
    [
        {"0": {"tag": "1girl", "category": "General"}, "1": {"tag": "miku", "category": "Character"}},
        {"info": {"map": {"idx_to_tag": {"1": "miku", "0": "1girl"}, "tag_to_category": {"miku": "Character"}}}},
    ],
)
def test_labels_in_json(tmp_path: Path, written: object) -> None:
    (tmp_path / "tags.json").write_text(json.dumps(written))
    named = known()["cl-tagger"].named(tmp_path / "tags.json")
    assert named == [("1girl", "general"), ("miku", "character")]


def test_a_file_begins_with_a_known_adapter_and_changes_it(tmp_path: Path) -> None:
    (tmp_path / "adapter.toml").write_text('like = "clip"\nside = 224\nresize = "lanczos"\n')
    read = adapter(tmp_path / "adapter.toml")
    assert (read.side, read.resize, read.mean) == (224, "lanczos", known()["clip"].mean)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('like = "wd-swin"', "wd-swinv2-v3"),
        ('colour = "RGB"', "colours"),
        ('colours = "rgb"', "RGB"),
        ("std = [0.5, 0.5]", "one number, or one per channel"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "adapter.toml").write_text(text)
    with pytest.raises(Refused, match=complaint):
        adapter(tmp_path / "adapter.toml")


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ('activation = "sigmod"', "did you mean 'sigmoid'"),
        ("activation = 1", "activation = 1 .*wrong type"),
        ("mean = 0.5", "mean = 0.5 .*wrong type"),
        ('std = ["a"]', "std .*wrong type"),
        ("side = 4.5", "side = 4.5 .*wrong type"),
        ("background = 300", "give 0 to 255"),
        ('kinds = { "4" = "charakter" }', "did you mean 'character'"),
        ("thresholds = { general = 35 }", "between 0 and 1"),
        ("thresholds = { general = 'a' }", "between 0 and 1"),
        ("scale = ", "cannot be read"),
        ("\xff", "cannot be read"),
    ],
)
def test_what_an_adapter_file_cannot_mean_is_refused_with_its_name(tmp_path: Path, written: str, why: str) -> None:
    (tmp_path / "adapter.toml").write_bytes(written.encode("latin-1"))
    with pytest.raises(Refused, match=why) as refused:
        adapter(tmp_path / "adapter.toml")
    assert "adapter.toml" in str(refused.value)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (b"tag_id,name,category,count\n0,1girl,0,9\n1,smile", "line 3 has no name or no category"),
        (b"tag_id,name,category,count\n0,\xe9t\xe9,0,9\n", "cannot be read"),
        (b"tag_id;name;category;count\n0;1girl;0;9\n", "lacks the columns"),
        (b"", "lacks the columns"),
    ],
)
def test_labels_that_are_no_labels_are_refused(tmp_path: Path, written: bytes, why: str) -> None:
    (tmp_path / "selected_tags.csv").write_bytes(written)
    with pytest.raises(Refused, match=why):
        known()["wd"].named(tmp_path / "selected_tags.csv")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "tags.csv").write_bytes(b"\xef\xbb\xbfname,category\n1girl,0\n")
    assert known()["wd"].named(tmp_path / "tags.csv") == [("1girl", "general")]
