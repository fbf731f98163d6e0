"""Order statistics are exact whatever the data, and sums do not depend on pieces."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from enogu.merge import statistics
from enogu.merge.method import Pieces
from enogu.merge.statistics import cutoffs, gram


def cut(tensors: list[Tensor], step: int) -> Pieces:
    def pieces(*, sample: bool = False) -> Iterator[list[Tensor]]:
        for start in range(0, len(tensors[0]), 4 * step if sample else step):  # a sample that misses much
            yield [tensor[start : start + step].clone() for tensor in tensors]

    return pieces


SAMPLES = {
    "normal": torch.randn(3000, generator=torch.Generator().manual_seed(0)),
    "mostly zero": torch.randn(3000, generator=torch.Generator().manual_seed(1)).mul(torch.arange(3000) % 50 == 0),
    "all zero": torch.zeros(3000),
    "all equal": torch.full((3000,), 0.1),
    "few values": (torch.arange(3000) % 3).float(),
    "tiny and huge": torch.logspace(-44, 38, 3000),
}


@pytest.mark.parametrize(("tries", "candidates"), [(2, 0), (1, 0), (0, 1 << 20), (0, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("keep", [0.0, 0.01, 0.2, 0.5, 1.0])
def test_cutoffs_are_those_of_a_sort(
    keep: float, dtype: torch.dtype, tries: int, candidates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "TRIES", tries)
    monkeypatch.setattr(statistics, "CANDIDATES", candidates)
    tensors = [sample.to(dtype) for sample in SAMPLES.values()]
    found = cutoffs(cut(tensors, 700), keep, of=lambda piece: [tensor.abs() for tensor in piece])
    count = max(round(keep * 3000), 1)
    expected = torch.stack([tensor.abs().sort(descending=True).values[count - 1] for tensor in tensors])
    assert torch.equal(found, expected)


def test_a_sample_that_is_off_costs_one_more_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(statistics, "_radix")
    rows = torch.linspace(0.5, 2.0, 64).repeat_interleave(2000)  # as the rows of trained weights differ
    tensors = [torch.randn(len(rows), generator=torch.Generator().manual_seed(i)).mul_(rows).abs_() for i in range(2)]
    passes: list[bool] = []

    def pieces(*, sample: bool = False) -> Iterator[list[Tensor]]:
        passes.append(sample)
        yield [tensor[: 40 * 2000 if sample else None].clone() for tensor in tensors]  # the lighter rows alone

    found = cutoffs(pieces, 0.2, of=lambda piece: piece)
    assert torch.equal(found, torch.stack([t.sort(descending=True).values[round(0.2 * len(t)) - 1] for t in tensors]))
    assert passes == [True, False, False]


def test_inner_products_do_not_depend_on_pieces() -> None:
    tensors = [torch.randn(200_001, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    whole, parts = gram(cut(tensors, 300_000)), gram(cut(tensors, 7_777))
    assert torch.equal(whole, parts)
    stack = torch.stack(tensors).double()
    torch.testing.assert_close(whole, stack @ stack.T, rtol=1e-12, atol=1e-9)
