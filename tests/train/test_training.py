"""Training: exact resume, frozen parts, curves that begin before the first update, and the loss itself."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from enogu.core.networks.checkpoint import TEXT, UNET, VAE, Checkpoint, build, load
from enogu.core.records.errors import Failed, Refused
from enogu.core.records.shards import Shards
from enogu.train.average import Average
from enogu.train.config import Phase, Rates, TrainConfig
from enogu.train.objective import Objective, draw
from enogu.train.schedule import rate_factor
from enogu.train.tuner import Tuner

from .conftest import Words

Train = Callable[..., Path]
LOW = Phase(name="low", images=16, lr=Rates(unet=1e-3, te=1e-3))
HIGH = Phase(name="high", images=16, lr=Rates(unet=1e-3), captions="short", schedule="cosine", optimizer="reset")


def config(*phases: Phase) -> TrainConfig:
    return TrainConfig(
        start="base",
        latents=("low",),
        captions="c",
        phases=phases,
        batch=4,
        validation=4,
        validate_images=8,
        state_images=8,
        ema_images=16,
        precision="fp32",
        dtype="fp32",
        seed=7,
    )


def test_a_run_broken_off_anywhere_ends_in_the_same_bytes(train: Train, tmp_path: Path) -> None:
    whole = train(config(LOW, HIGH), tmp_path / "whole")
    for images in (4, 16, 28):

        def stop(done: int, total: int, what: str, at: int = images) -> None:
            if done == at:
                raise KeyboardInterrupt

        out = tmp_path / f"broken{images}"
        with pytest.raises(KeyboardInterrupt):
            train(config(LOW, HIGH), out, stop)
        assert train(config(LOW, HIGH), out).read_bytes() == whole.read_bytes(), images
        assert (out / "metrics.jsonl").read_text() == (whole.parent / "metrics.jsonl").read_text()


def test_what_is_frozen_stays_and_what_is_not_moves(train: Train, start: Path, tmp_path: Path) -> None:
    before = load(start).tensors
    after = load(train(config(HIGH), tmp_path)).tensors
    for key, tensor in after.items():
        if key.startswith((TEXT, VAE)):
            assert torch.equal(tensor.float(), before[key].float()), key
    moved = [key for key in after if key.startswith(UNET) and not torch.equal(after[key], before[key].float())]
    assert len(moved) > 300


def test_the_curves_begin_before_the_first_update(train: Train, tmp_path: Path) -> None:
    train(config(LOW), tmp_path)
    points = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert points[0]["images"] == 0
    assert "val_loss" in points[0]
    assert [point["images"] for point in points if "val_loss" in point] == [0, 8, 16]


def test_validation_asks_for_the_captions_that_the_phase_reads(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[str] = set()

    def plain(self: Words, post: int, set: str = "tags") -> str:
        asked.add(set)
        return ""

    monkeypatch.setattr(Words, "plain", plain)
    train(config(replace(LOW, captions="short")), tmp_path)
    assert asked == {"short"}


def test_checkpoints_carry_their_recipe(train: Train, tmp_path: Path) -> None:
    metadata = load(train(config(LOW), tmp_path)).metadata
    assert json.loads(metadata["enogu.train"])["batch"] == 4
    assert metadata["modelspec.prediction_type"] == "epsilon"
    assert str(tmp_path) not in json.dumps(dict(metadata))


def test_the_loss_is_that_of_ddpm(start: Path) -> None:
    """Against the textbook formula in float64 (Ho et al. 2020, equation 14), timestep by timestep."""
    checkpoint: Checkpoint = load(start)
    model = build(checkpoint, "start").eval()
    objective = Objective(model, weighting="none", gamma=5.0, clip_skip=1, autocast=False)
    moments, tokens = torch.randn(3, 8, 4, 4), torch.full((3, 1, 77), 49407)
    draws = draw(3, [0, 1, 2], (4, 4, 4), timesteps=1000)
    with torch.no_grad():
        errors = objective.errors(moments, tokens, draws).numpy()
        betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
        abar = np.cumprod(1 - betas)[draws.t.numpy()].reshape(3, 1, 1, 1)
        mean, logvar = moments.numpy()[:, :4], moments.numpy()[:, 4:]
        x0 = (mean + draws.posterior.numpy() * np.exp(logvar / 2)) * 0.18215
        noisy = np.sqrt(abar) * x0 + np.sqrt(1 - abar) * draws.noise.numpy()
        said = model.unet(torch.tensor(noisy, dtype=torch.float32), draws.t, model.encode_text(tokens)).numpy()
    np.testing.assert_allclose(errors, ((said - draws.noise.numpy()) ** 2).mean(axis=(1, 2, 3)), rtol=1e-4)


def test_draws_depend_on_the_count_of_the_image_alone() -> None:
    together, alone = draw(5, range(100, 108), (4, 2, 2), timesteps=1000), draw(5, [103], (4, 2, 2), timesteps=1000)
    assert torch.equal(together.noise[3], alone.noise[0])
    assert together.t[3] == alone.t[0]


def test_timesteps_cover_the_range_evenly() -> None:
    counts = torch.bincount(draw(5, range(1000), (1, 1, 1), timesteps=1000).t // 100, minlength=10)
    assert counts.min() >= 97
    assert counts.max() <= 103


def test_the_average_forgets_half_in_its_half_life() -> None:
    weights = {"w": torch.zeros(3)}
    average = Average(weights, 1000)
    weights["w"] += 1
    for images in range(100_000, 101_000, 10):
        average.update(weights, images=images, batch=10)
    torch.testing.assert_close(average.values["w"], torch.full((3,), 0.5), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("schedule", "done", "factor"),
    [("constant", 50, 1.0), ("cosine", 50, 0.55), ("cosine", 100, 0.1), ("linear", 50, 0.55), ("cosine", 0, 0.0)],
)
def test_rates_follow_their_schedule(schedule: str, done: int, factor: float) -> None:
    phase = Phase(lr=Rates(unet=1), images=100, schedule=schedule, final=0.1, warmup_images=10)  # type: ignore[arg-type]
    assert rate_factor(phase, done, 100) == pytest.approx(factor)


def test_a_phase_without_a_length_is_refused() -> None:
    with pytest.raises(Refused, match="images or epochs"):
        Phase(name="endless", lr=Rates(unet=1))


def test_a_phase_that_trains_nothing_is_refused() -> None:
    with pytest.raises(Refused, match="unet and te are 0"):
        Rates()


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("validation", -1, "the number of posts to hold out, or 0 for none"),
        ("ema_images", -1, "at least 0"),
        ("validate_images", -5, "at least 0"),
        ("batch", 0, "at least 1"),
        ("clip_skip", 0, "at least 1"),
        ("gamma", -2.0, "a finite number above 0"),
        ("gamma", math.nan, "a finite number above 0"),
        ("clip_norm", math.inf, "a finite number"),
        ("weight_decay", math.nan, "a finite number"),
        ("betas", (0.9, 1.0), "two numbers from 0 to below 1"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused_with_its_field(field: str, value: Any, wanted: str) -> None:
    with pytest.raises(Refused, match=rf"^{field} = .*; give {wanted}$"):
        replace(config(LOW), **{field: value})


@pytest.mark.parametrize(
    ("field", "value"), [("images", -8), ("epochs", -1.0), ("batch", -1), ("warmup_images", -4), ("final", 2.0)]
)
def test_a_phase_of_senseless_numbers_is_refused(field: str, value: float) -> None:
    with pytest.raises(Refused, match=f"{field} = "):
        replace(LOW, **{field: value})


@pytest.mark.parametrize("rate", [-1e-4, math.inf, math.nan])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(Refused, match=r"^te = "):
        Rates(unet=1e-4, te=rate)


def test_no_model_with_values_that_are_not_finite_is_saved(train: Train, tmp_path: Path) -> None:
    wild = replace(config(replace(LOW, lr=Rates(unet=1e38), images=8)), ema_images=0, validation=0, dtype="fp16")
    with pytest.raises(Failed, match=r"after 8 images model\.\S+ holds values that are not finite in fp16.*lower lr"):
        train(wild, tmp_path)
    assert not list(tmp_path.rglob("0*.safetensors"))
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(("posts", "held_out"), [(4, 0), (20, 2), (150, 15), (640, 64), (100_000, 64)])
def test_by_default_a_tenth_is_held_out_at_most(posts: int, held_out: int) -> None:
    assert replace(config(LOW), validation=None).held_out(posts) == held_out
    assert replace(config(LOW), validation=7).held_out(posts) == 7


def test_a_set_that_is_too_small_to_hold_out_any_is_trained_without_validation(
    train: Train, tmp_path: Path, latents: Path
) -> None:
    few = tmp_path / "few"
    shutil.copytree(latents, few)
    shards = Shards(few)
    shards.forget(shards.columns("shard", "offset")[4:])
    train(replace(config(LOW), validation=None), tmp_path / "out", latents=few)
    points = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert not any("val_loss" in point for point in points)


def test_rotten_latents_are_not_trained_on(train: Train, tmp_path: Path, latents: Path) -> None:
    rotten = tmp_path / "rotten"
    shutil.copytree(latents, rotten)
    (shard,) = rotten.glob("shard-*.bin")
    data = bytearray(shard.read_bytes())
    data[700:708] = bytes(8)
    shard.write_bytes(data)
    with pytest.raises(Failed, match=rf"{shard.name}: the record at byte 512 .*`enogu latents verify.*repair`"):
        train(config(replace(LOW, images=32)), tmp_path / "out", latents=rotten)


def test_holding_out_everything_is_refused(train: Train, tmp_path: Path) -> None:
    greedy = TrainConfig(start="base", latents=("low",), captions="c", phases=(LOW,), validation=20)
    with pytest.raises(Refused, match="validation = 20"):
        train(greedy, tmp_path)


def test_a_gradient_that_is_not_finite_is_left_out_and_many_are_a_failure(start: Path) -> None:
    tuner = Tuner(config(LOW), load(start), "cpu")
    tuner.begin(LOW, reset=False)
    before = {name: value.detach().clone() for name, value in tuner.parameters.items()}

    def broken() -> torch.Tensor:
        return torch.stack([value.sum() for value in tuner.parameters.values()]).sum() * torch.nan

    tuner.step(broken(), LOW, done=8, total=16)
    assert all(torch.equal(before[name], value) for name, value in tuner.parameters.items())
    for _ in range(8):
        tuner.step(broken(), LOW, done=8, total=16)
    with pytest.raises(Failed, match="10 batches in a row"):
        tuner.step(broken(), LOW, done=8, total=16)
