"""Kept outputs of a frozen text encoder: the losses of a run that asks the encoder itself, to the rounding of fp16."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from enogu.core.networks.clip import TextModel
from enogu.core.records.errors import Refused
from enogu.core.records.shards import Shards
from enogu.train.config import Phase, Rates, TrainConfig
from enogu.train.data import encode
from enogu.train.text_outputs import TextOutputs

Train = Callable[..., Path]
PHASES = (Phase(images=16, lr=Rates(unet=1e-3)), Phase(images=16, lr=Rates(unet=1e-3), captions="short"))
CONFIG = TrainConfig(
    start="base",
    latents=("low",),
    captions="c",
    phases=PHASES,
    batch=4,
    validation=4,
    validate_images=8,
    precision="fp32",
    clip_skip=2,
    chunks=2,
    seed=7,
)
KEPT = replace(CONFIG, text_variants=2)  # two epochs are run: every read has a variant of its own


def losses(model: Path) -> list[float]:
    """Return every training and validation loss of a run."""
    rows = [json.loads(line) for line in (model.parent / "metrics.jsonl").read_text().splitlines()]
    return [row[name] for row in rows for name in ("loss", "val_loss") if name in row]


def test_the_losses_are_those_of_the_encoder_itself(train: Train, tmp_path: Path) -> None:
    asked, kept = losses(train(CONFIG, tmp_path / "asked")), losses(train(KEPT, tmp_path / "kept"))
    assert len(asked) > 6
    np.testing.assert_allclose(kept, asked, rtol=2e-3)


def test_a_run_that_goes_on_asks_the_encoder_nothing(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, total: int, what: str) -> None:
        if what.startswith("images") and done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(KEPT, tmp_path / "broken", stop)
    assert Shards(tmp_path / "broken" / "text").verify() == []
    whole = train(KEPT, tmp_path / "whole").read_bytes()
    monkeypatch.setattr(TextModel, "forward", None)
    assert train(KEPT, tmp_path / "broken").read_bytes() == whole
    assert not (tmp_path / "broken" / "text").exists()


def test_an_encoder_that_is_trained_is_refused() -> None:
    trained = Phase(images=4, lr=Rates(unet=1e-3, te=1e-4))
    with pytest.raises(Refused, match=r"phase 2 trains the text encoder.*lr\.te = 0"):
        replace(KEPT, phases=(PHASES[0], trained))


def test_a_caption_beyond_the_variants_is_refused(tmp_path: Path) -> None:
    outputs = TextOutputs(tmp_path, "an encoder", lambda tokens: tokens.flatten(1)[..., None].repeat(1, 1, 8).float())
    outputs.fill(iter([(1, "a cat"), (2, "a dog")]), chunks=1, total=2, progress=lambda *_: None)
    assert outputs(encode(["a dog", "a cat"], 1)).shape == (2, 77, 8)
    with pytest.raises(Refused, match="text_variants"):
        outputs(encode(["a dog", "a bird"], 1))
