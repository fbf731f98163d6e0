"""Losses by timestep against models whose error is known in closed form."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from enogu.core.diffusion.schedule import alphas_cumprod
from enogu.core.networks.family import family
from enogu.core.records.shards import Entry, Shards, ShardWriter
from enogu.judge.losses import BINS, bin_losses, held_out_rows

ABAR = alphas_cumprod("scaled_linear").float()


def shards(folder: Path, *, scale: float = 1.0) -> Shards:
    """Store twelve posts in two buckets, each also mirrored."""
    writer, rng = ShardWriter(folder), np.random.default_rng(0)
    for post in range(12):
        width, height = ((64, 64), (48, 80))[post % 2]
        for flipped in (False, True):
            entry = Entry(post=post, width=width, height=height, flipped=flipped, key=f"{post}{flipped}",
                          original_width=width, original_height=height, crop_left=0, crop_top=0)  # fmt: skip
            writer.append([entry], [(rng.normal(size=(8, height // 8, width // 8)) * scale).astype(np.float16)])
    writer.finish(writer.stored())
    return Shards(folder)


def model(prediction: str, unet: Callable[[Tensor, Tensor], Tensor]) -> Any:
    return SimpleNamespace(
        family=replace(family("mini-sd1"), prediction=prediction),
        device=torch.device("cpu"),
        encode_text=lambda tokens: torch.zeros(len(tokens), 77, 64),
        unet=lambda x, t, context: unet(x, ABAR[t.long()].reshape(-1, 1, 1, 1)),
    )


def losses(one: Any, stored: Shards, seed: int = 0) -> np.ndarray:
    batches = held_out_rows(stored, 8, seed)
    return np.concatenate(list(bin_losses(one, stored, batches, caption=lambda post: "", seed=seed)))


def test_a_model_that_knows_the_noise_has_no_loss(tmp_path: Path) -> None:
    knows = model("eps", lambda x, abar: x / (1 - abar).sqrt())  # exact where every latent is zero
    assert losses(knows, shards(tmp_path, scale=0)).max() < 1e-6


def test_a_model_that_says_nothing_has_the_power_of_the_noise(tmp_path: Path) -> None:
    found = losses(model("eps", lambda x, abar: torch.zeros_like(x)), shards(tmp_path))
    assert found.shape == (8, BINS)
    assert found.mean() == pytest.approx(1, abs=0.05)


def test_eps_and_v_models_meet_on_one_scale(tmp_path: Path) -> None:
    stored = shards(tmp_path)
    as_eps = model("eps", lambda x, abar: torch.zeros_like(x))
    as_v = model("v", lambda x, abar: -((1 - abar) / abar).sqrt() * x)  # the v that says: no noise
    np.testing.assert_allclose(losses(as_v, stored), losses(as_eps, stored), rtol=1e-4)


def test_rows_are_seeded_unmirrored_and_of_one_bucket(tmp_path: Path) -> None:
    stored = shards(tmp_path)
    batches = held_out_rows(stored, 8, 1)
    frame = stored.index[np.concatenate(batches)]
    assert frame["post"].n_unique() == len(frame) == 8
    assert not frame["flipped"].any()
    assert all(stored.index[rows].select("width", "height").n_unique() == 1 for rows in batches)
    assert [rows.tolist() for rows in held_out_rows(stored, 8, 1)] == [rows.tolist() for rows in batches]
    assert [rows.tolist() for rows in held_out_rows(stored, 8, 2)] != [rows.tolist() for rows in batches]
