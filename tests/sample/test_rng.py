"""Noise sources: CUDA's Philox against published blocks, and one stream per picture."""

import pytest
import torch

from enogu.sample.rng import SOURCES, nv

# What A1111 documents for torch.manual_seed(0); torch.randn((3, 4), device="cuda").
CUDA_SEED_0 = """-0.92466 -0.42534 -2.64385 0.14518 -0.12087 -0.57973 -0.62285 -0.32839
-1.07454 -0.36314 -1.67105 2.26550"""


def test_nv_is_cudas_noise() -> None:
    assert nv(0)((3, 4)).flatten().tolist() == pytest.approx([float(x) for x in CUDA_SEED_0.split()], abs=1e-5)
    picture = nv(3179120050)((4, 96, 168))
    assert picture.flatten()[:4].tolist() == pytest.approx([0.814857, 0.099033, -0.817727, 1.391352], abs=2e-6)
    assert picture.double().sum().item() == pytest.approx(-267.70664, abs=1e-3)


def test_cpu_is_torchs_own() -> None:
    stream = SOURCES["CPU"](42)
    generator = torch.Generator().manual_seed(42)
    for _ in range(2):
        assert torch.equal(stream((4, 8, 8)), torch.randn((4, 8, 8), generator=generator))


@pytest.mark.parametrize("name", SOURCES)
def test_a_stream_goes_on_and_depends_on_its_seed_alone(name: str) -> None:
    one, again, other = (SOURCES[name](seed) for seed in (7, 7, (1 << 31) + 7))
    first = one((4, 8, 8))
    assert first.dtype == torch.float32
    assert torch.equal(first, again((4, 8, 8)))
    assert not torch.equal(first, one((4, 8, 8)))
    assert not torch.equal(first, other((4, 8, 8)))
