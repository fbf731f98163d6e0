"""Sums of tensors in compiled loops, against exact sums, torch, and merges without them."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from enogu.core.records.errors import Failed
from enogu.core.records.hashes import sha256_file
from enogu.merge import evaluate
from enogu.merge.config import MergeConfig
from enogu.merge.engine import Engine
from enogu.merge.inputs import read_headers
from enogu.merge.linear import BITS, WIDTH, add, is_native
from enogu.merge.plan import make_plan
from tests.merge import pico

needs_native = pytest.mark.skipif(not is_native(), reason="no instructions for halves here")
HALF, BFLOAT, SINGLE = torch.float16, torch.bfloat16, torch.float32
FORMULAS = [
    "0.7*a + 0.3*b",
    "a + 1.0*(b - c) + 0.25*(c - a)",
    "mean(a, b, c)",
    "mbw(a, b, 'GRAD_V', base=0.5)",
    "a + 1/3*(b - c)",
    "a",
]


def drawn(seed: int, count: int, dtype: torch.dtype) -> Tensor:
    """Return numbers below 2 of either sign, of every size down to the smallest."""
    bits = np.random.default_rng(seed).integers(0, 1 << 8 * dtype.itemsize, count, np.uint64)
    bits &= np.uint64((1 << 8 * dtype.itemsize) - 1 ^ 1 << 8 * dtype.itemsize - 2)
    whole = {2: np.int16, 4: np.int32}[dtype.itemsize]
    return torch.from_numpy(bits.astype(whole, casting="unsafe")).view(dtype)


def exact(tensors: list[Tensor], factors: list[float], dtype: torch.dtype) -> Tensor:
    """Return the sum in exact numbers, rounded where the loop says that it rounds."""
    result = []
    for row in zip(*(tensor.double().tolist() for tensor in tensors), strict=True):
        total = Fraction(0)
        for value, factor in zip(row, factors, strict=True):
            total = Fraction(nearest(Fraction(value) * Fraction(float(np.float32(factor))) + total))
        result.append(float(total))
    return torch.tensor(result, dtype=torch.float64).float().to(dtype)


def nearest(value: Fraction) -> float:
    """Return the float32 that is nearest to a number, of two the even one."""
    found = np.float32(float(value))
    around = [np.nextafter(found, np.float32(-np.inf)), found, np.nextafter(found, np.float32(np.inf))]
    return float(min(around, key=lambda each: (abs(Fraction(float(each)) - value), int(each.view(np.uint32)) & 1)))


@needs_native
@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize(
    "stored", [[HALF], [HALF, HALF], [BFLOAT, SINGLE, HALF], [SINGLE, SINGLE], [BFLOAT] * 5, [HALF] * 16]
)
def test_a_sum_is_that_of_exact_numbers_rounded_once_per_term(stored: list[torch.dtype], dtype: torch.dtype) -> None:
    count = 2 * WIDTH + 7
    tensors = [drawn(seed, count, each) for seed, each in enumerate(stored)]
    factors = [float(factor) for factor in np.random.default_rng(0).normal(size=len(stored))]
    for length in (count, WIDTH, WIDTH - 1, 1, 0):
        out = torch.zeros(count + 3, dtype=dtype)
        cut = [tensor[:length] for tensor in tensors]
        assert add(cut, factors, out[:length])
        assert torch.equal(out[:length], exact(cut, factors, dtype))
        assert not out[length:].any()


@needs_native
@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("place", [0, WIDTH, 2 * WIDTH + 3])
@pytest.mark.parametrize("odd", [torch.nan, torch.inf, -torch.inf, None])
def test_a_sum_that_is_not_finite_anywhere_is_told(dtype: torch.dtype, place: int, odd: float | None) -> None:
    ones, out = torch.ones(2 * WIDTH + 5, dtype=dtype), torch.zeros(2 * WIDTH + 5, dtype=dtype)
    assert add([ones, ones], [1.0, 1.0], out)
    ones[place] = torch.finfo(dtype).max if odd is None else odd
    assert not add([ones, ones], [1.0, 1.0], out)
    assert torch.equal(out.isfinite(), torch.arange(len(out)) != place)


@needs_native
@pytest.mark.parametrize("dtype", ["same", "fp32", "bf16", "fp8_e4m3fn"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_a_merge_has_the_same_bytes_on_a_processor_without_such_instructions(
    formula: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = {"a": HALF, "b": SINGLE if dtype == "fp32" else HALF, "c": BFLOAT if dtype == "bf16" else HALF}
    files = pico.write(tmp_path, **{name: pico.tensors(seed, kind) for seed, (name, kind) in enumerate(stored.items())})
    config = MergeConfig(formula=formula, vae="formula", text="formula", dtype=dtype)
    plan, found = make_plan(config, read_headers(files)), set()
    for native in (True, False):
        monkeypatch.setattr(evaluate, "is_native", lambda native=native: native)
        for engine in (Engine(), Engine(threads=1, piece=77, memory=1 << 14)):
            engine.run(plan, files, tmp_path / "out")
            found.add(sha256_file(tmp_path / "out"))
    assert len(found) == 1


@pytest.mark.parametrize("native", [True, False])
def test_a_sum_that_does_not_fit_is_blamed_on_the_result_and_may_be_kept(
    native: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native:
        monkeypatch.setattr(evaluate, "is_native", lambda: False)
    large = {key: torch.full_like(tensor, 60000.0) for key, tensor in pico.tensors(0).items()}
    files = pico.write(tmp_path, a=large, b={key: -tensor for key, tensor in large.items()})
    for nonfinite in ("refuse", "keep"):
        config = MergeConfig(formula="2*a - b", vae="a", text="a", nonfinite=nonfinite)
        plan = make_plan(config, read_headers(files))
        if nonfinite == "refuse":
            with pytest.raises(Failed, match="does not fit into float16"):
                Engine().run(plan, files, tmp_path / "out")
            assert not (tmp_path / "out").exists()
        else:
            Engine().run(plan, files, tmp_path / "out")
            assert safetensors.torch.load_file(tmp_path / "out")[pico.MIDDLE].isinf().all()
