"""The mini tagger: its files are those of a WD tagger, and ONNX computes what torch does."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from enogu.core.networks.tagger import Tagger
from enogu.core.records.errors import Refused
from enogu.core.records.job import Job
from enogu.mini.config import TaggerConfig
from enogu.mini.stage import run_tagger
from enogu.mini.tagger_ceiling import best_thresholds, ceiling
from enogu.mini.tagger_export import write_model
from enogu.mini.tagger_labels import CHARACTER, GENERAL, RATING, labels, write_labels
from enogu.mini.tagger_net import TaggerNet
from enogu.mini.tagger_pictures import held_out, prepared, training_set
from enogu.mini.traits import novel_tags

SMALL = TaggerConfig(pictures=32, held_out=24, epochs=1, batch=16, side=32)


@pytest.fixture
def net() -> TaggerNet:
    """An untrained net whose batch norms have seen something."""
    torch.manual_seed(0)
    net = TaggerNet(len(labels()))
    net(torch.rand(8, 48, 48, 3) * 255)
    return net.eval()


def test_onnx_read_as_a_wd_tagger_computes_what_torch_does(net: TaggerNet, tmp_path: Path) -> None:
    write_labels(tmp_path / "selected_tags.csv", [1] * len(labels()))
    write_model(tmp_path / "model.onnx", net, 48)
    pictures = [held_out(3, index)[0] for index in range(5)]
    inputs = torch.from_numpy(np.stack([prepared(picture, 48) for picture in pictures])).float()
    with torch.inference_mode():
        expected = net(inputs).sigmoid().numpy()
    tagger = Tagger.load(tmp_path)
    assert tagger.side == 48
    np.testing.assert_allclose(tagger.probabilities(pictures), expected, atol=4e-3)  # weights are kept as float16


def test_the_whole_stage_writes_a_folder_that_loads(tmp_path: Path) -> None:
    summary = run_tagger(SMALL, Job(out=tmp_path, threads=1))
    assert 0 <= summary["recall"] <= 1
    tagger = Tagger.load(tmp_path)
    thresholds = json.loads((tmp_path / "thresholds.json").read_text())
    assert tuple(thresholds) == tagger.names
    assert json.loads((tmp_path / "ceiling.json").read_text())["pictures"] == SMALL.held_out
    assert (tmp_path / "model.onnx").stat().st_size < 1_500_000


def test_a_run_broken_off_ends_in_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enogu.mini.tagger_training.STATE_EVERY", 1)
    config = replace(SMALL, epochs=2)
    whole = run_tagger(config, Job(out=tmp_path / "whole", threads=1))

    def stop(done: int, _total: int, what: str) -> None:
        if what == "images" and done == 3 * config.batch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tagger(config, Job(out=tmp_path / "broken", threads=1, progress=stop))
    reached: list[tuple[str, int]] = []

    def watch(done: int, total: int, what: str) -> None:
        reached.append((what, done))

    assert run_tagger(config, Job(out=tmp_path / "broken", threads=1, progress=watch)) == whole
    assert ("images", 4 * config.batch) in reached
    assert ("images", 3 * config.batch) not in reached
    first, second = ((tmp_path / name / "model.onnx").read_bytes() for name in ("whole", "broken"))
    assert first == second


def test_labels_are_rows_of_a_wd_tagger(tmp_path: Path) -> None:
    write_labels(tmp_path / "selected_tags.csv", range(len(labels())))
    with (tmp_path / "selected_tags.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    kinds = {row["name"]: int(row["category"]) for row in rows}
    assert list(rows[0]) == ["tag_id", "name", "category", "count"]
    assert [row["name"] for row in rows[:4]] == ["general", "sensitive", "questionable", "explicit"]
    assert (kinds["explicit"], kinds["witch_hat"], kinds["momo_(enogu)"]) == (RATING, GENERAL, CHARACTER)
    assert novel_tags() <= kinds.keys()
    assert len(kinds) == len(rows)


def test_targets_name_what_was_drawn() -> None:
    from_drawing = held_out(1, 4)[1]
    assert from_drawing.sum() >= 10
    assert np.array_equal(from_drawing, held_out(1, 4)[1])


def test_training_pictures_do_not_depend_on_threads() -> None:
    one, two = ([picture for picture, _ in training_set(0, 6, 32, threads=threads)] for threads in (1, 2))
    assert np.array_equal(one, two)


def test_a_perfect_tagger_has_a_perfect_ceiling() -> None:
    truth = np.stack([held_out(2, index)[1] for index in range(40)]) > 0.5
    scores = np.where(truth, 0.9, 0.1).astype(np.float32)
    result = ceiling(scores, truth, best_thresholds(scores, truth))
    assert result["mean"] == {"recall": 1.0, "precision": 1.0, "accuracy": 1.0}


@pytest.mark.parametrize("fields", [{"epochs": 0}, {"side": 50}, {"side": 16}])
def test_settings_that_cannot_be_trained_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(Refused):
        TaggerConfig(**fields)
