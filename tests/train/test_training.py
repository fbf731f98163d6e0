"""Training: exact resume, frozen parts, curves that begin before the first update, and the loss itself."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from enogu.core.networks.checkpoint import TEXT, UNET, VAE, Checkpoint, build, load
from enogu.core.records.errors import Failed, Refused
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
