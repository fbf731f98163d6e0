"""Tensors that are merged before all of them was seen: whatever was guessed, they are those of whole tensors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from enogu.core.records.errors import Failed
from enogu.merge import stage
from enogu.merge.config import MergeConfig
from enogu.merge.engine import Engine
from enogu.merge.guess import Guess
from enogu.merge.plan import make_plan
from enogu.merge.whole import Whole
from tests.merge import pico

KEY = "model.diffusion_model.middle_block.0.x"
BEFORE = "model.diffusion_model.middle_block.0.w"
ROWS, WIDTH = 700, 320
ENGINES = (
    Engine(),
    Engine(mapped=True),
    Engine(threads=1, piece=9999, memory=1 << 20),
    Engine(threads=8, piece=1000, memory=1 << 17),
)
Array = np.ndarray[Any, Any]


def alike(noise: Array) -> Array:
    return noise


def growing(noise: Array) -> Array:
    return noise * np.linspace(0.5, 1.5, ROWS)[:, None]


def hidden(noise: Array) -> Array:
    """Differ in rows between the 16 places that a sample is taken from."""
    return noise * np.where((np.arange(ROWS) * 16 // ROWS * ROWS // 16 - np.arange(ROWS)) < -15, 5.0, 1.0)[:, None]


def sparse(noise: Array) -> Array:
    return np.where(abs(noise) > 0.0165, noise, 0.0)


CHANGES = {alike: "right", growing: "right", hidden: "wrong", sparse: "none"}


def written(folder: Path, change: Callable[[Array], Array]) -> dict[str, Path]:
    """Write a base and three models that differ from it by changed noise."""
    rng = np.random.default_rng(1)
    base = 0.1 * rng.standard_normal((ROWS, WIDTH))
    arrays = [base, *(base + change(0.01 * rng.standard_normal((ROWS, WIDTH))) for _ in range(3))]
    halves = [torch.tensor(array, dtype=torch.float16) for array in arrays]
    return pico.write(folder, **{name: {KEY: each, BEFORE: each[0]} for name, each in zip("abcd", halves, strict=True)})


def merged(formula: str, models: dict[str, Path], out: Path, engine: Engine, **options: str) -> torch.Tensor:
    plan = make_plan(MergeConfig(formula=formula, **options), stage.read_headers(models))
    engine.run(plan, models, out)
    return safetensors.torch.load_file(out)[KEY]


def reference(models: dict[str, Path], keep: float, vote: str) -> Array:
    """Return TIES in float64, on whole tensors."""
    base, *others = (safetensors.torch.load_file(path)[KEY].double().numpy() for path in models.values())
    kept = np.zeros((len(others), *base.shape))
    for row, values in zip(kept, others, strict=True):
        sizes = abs(values - base)
        cut = np.sort(sizes.ravel())[-round(keep * sizes.size)]
        row[sizes >= cut] = (values - base)[sizes >= cut]
    sign = np.sign(kept.sum(0) if vote == "mass" else np.sign(kept).sum(0))
    agree = (np.sign(kept) == sign) & (kept != 0.0)
    return np.asarray(base + (kept * agree).sum(0) / np.maximum(agree.sum(0), 1))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("keep", "vote"), [(0.2, "mass"), (0.35, "count")])
def test_a_guess_changes_no_byte(
    keep: float, vote: str, change: Callable[[Array], Array], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, fates = written(tmp_path, change), []
    guess, repeated = Guess.of, Whole._repeated

    def of(*args: Any) -> Guess | None:
        made = guess(*args)
        fates.append("right" if made else "none")
        return made

    def again(whole: Whole) -> Any:
        fates[-1] = "wrong"
        return repeated(whole)

    monkeypatch.setattr(Guess, "of", of)
    monkeypatch.setattr(Whole, "_repeated", again)
    formula = f"ties(a, [b, c, d], keep={keep}, vote='{vote}')"
    found = [merged(formula, models, tmp_path / "out", engine) for engine in ENGINES]
    assert fates == [CHANGES[change]] * len(ENGINES)
    monkeypatch.setattr("enogu.merge.guess.LEAST", ROWS * WIDTH + 1)
    measured = merged(formula, models, tmp_path / "out", Engine())
    assert len(fates) == len(ENGINES)
    assert all(torch.equal(each, measured) for each in found)
    np.testing.assert_allclose(measured.double().numpy(), reference(models, keep, vote), rtol=6e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("formula", "options"),
    [
        ("0.5*ties(a, b, c) + 0.5*d", {}),
        ("amplify(ties(a, b, c) + 0.1*(d - a))", {}),
        ("ties(a, b, c)", {"precision": "fp64"}),
        ("ties(a, b, c)", {"dtype": "fp32"}),
    ],
)
def test_only_what_is_added_to_its_base_and_becomes_halves_is_guessed(
    formula: str, options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = written(tmp_path, alike)
    monkeypatch.setattr(Guess, "of", lambda *_: pytest.fail("it guessed"))
    merged(formula, models, tmp_path / "out", Engine(), **options)


@pytest.mark.parametrize("place", [(0, 0), (350, 7), (699, 319)])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused_by_name_or_kept(
    place: tuple[int, int], value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = {name: safetensors.torch.load_file(path) for name, path in written(tmp_path, alike).items()}
    tensors["c"][KEY][place] = value
    models, out = pico.write(tmp_path, **tensors), tmp_path / "out"
    for engine in ENGINES:
        with pytest.raises(Failed, match=f"{KEY} of c holds NaN or infinities"):
            merged("ties(a, b, c)", models, out, engine)
        assert not out.exists()
    found = [merged("ties(a, b, c)", models, out, engine, nonfinite="keep") for engine in ENGINES]
    monkeypatch.setattr("enogu.merge.guess.LEAST", ROWS * WIDTH + 1)
    found.append(merged("ties(a, b, c)", models, out, Engine(), nonfinite="keep"))
    for each in found:
        assert torch.equal(each.view(torch.int16), found[-1].view(torch.int16))
        assert (~each.isfinite()).nonzero().tolist() == [list(place)]


def test_a_failure_in_one_part_ends_the_merge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models, fill = written(tmp_path, alike), Guess.fill

    def broken(guess: Guess, cut: Any, out: torch.Tensor) -> bool:
        if cut.start > 0:
            raise OSError("no more")
        return fill(guess, cut, out)

    monkeypatch.setattr(Guess, "fill", broken)
    with pytest.raises(OSError, match="no more"):
        merged("ties(a, b, c)", models, tmp_path / "out", ENGINES[-1])
    assert not (tmp_path / "out").exists()
