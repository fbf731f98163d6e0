"""The reading lesson: labels stand at the last token of each tag, and a small encoder learns to tell them apart."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from enogu.core.networks.checkpoint import load, save
from enogu.core.networks.family import family
from enogu.core.networks.model import StableDiffusion
from enogu.core.networks.tokenizer import tokenize
from enogu.core.records.job import Job
from enogu.mini.config import TextConfig
from enogu.mini.text_reading import make_reader, sentence, spoken, vocabulary
from enogu.mini.traits import novel_tags


def test_nothing_novel_is_taught() -> None:
    assert not {tag.replace("_", " ") for tag in novel_tags()} & set(vocabulary())
    assert "red hair" in vocabulary()


def test_a_label_stands_where_its_tag_ends() -> None:
    words = [tokenize(word) for word in vocabulary()]
    row, labels = sentence(words, tokenize(","), np.random.default_rng(3))
    assert labels.any()
    for place in np.flatnonzero(labels):
        tokens = words[labels[place] - 1]
        assert row[place - len(tokens) + 1 : place + 1].tolist() == tokens


def test_only_the_text_encoder_changes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    start = tmp_path / "start.safetensors"
    save(start, StableDiffusion(family("mini-sd1")).state_dict(), {})
    job = Job(out=tmp_path / "out", inputs={"start": {"base": start}})
    summary = make_reader(TextConfig(start="base", updates=2, batch=2), job, vocabulary())
    before, after = load(start).tensors, load(tmp_path / "out" / "model.safetensors").tensors
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert all(key.startswith("cond_stage_model.") for key in changed)
    assert 0 <= summary["read"] <= 1


class Written:
    """Captions by post."""

    def __init__(self, captions: dict[int, str]) -> None:
        self.captions = captions

    def plain(self, post: int) -> str:
        return self.captions[post]


def test_only_what_many_captions_say_is_taught(tmp_path: Path) -> None:
    captions = {7: "heart, red", 8: "heart, green, sun", 9: "sun, heart"}
    pl.DataFrame({"post": list(captions)}).write_parquet(tmp_path / "captions.parquet")
    assert spoken(tmp_path, lambda _folder, _seed: Written(captions), common=2) == ["heart", "sun"]


def test_a_lesson_broken_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enogu.mini.text_reading.STATE_EVERY", 1)
    torch.manual_seed(0)
    start = tmp_path / "start.safetensors"
    save(start, StableDiffusion(family("mini-sd1")).state_dict(), {})
    config = TextConfig(start="base", updates=3, batch=2)

    def stop(done: int, _total: int, _what: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    inputs = {"start": {"base": start}}
    whole = make_reader(config, Job(out=tmp_path / "whole", inputs=inputs), vocabulary())
    with pytest.raises(KeyboardInterrupt):
        make_reader(config, Job(out=tmp_path / "broken", inputs=inputs, progress=stop), vocabulary())
    reached: list[int] = []
    watch = Job(out=tmp_path / "broken", inputs=inputs, progress=lambda done, *_: reached.append(done))
    assert make_reader(config, watch, vocabulary())["sha256"] == whole["sha256"]
    assert reached == [3]
