"""The compiled loops, beside what numpy and torch say."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from enogu.merge.loops import differences, elect, gather


def test_differences_of_all_halves_are_those_of_torch() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    base, turned, out = np.roll(bits, 777), bits[::-1].copy(), np.empty((2, 1 << 16), np.float32)
    differences((bits, turned), base, out)
    first, second, wide = (torch.from_numpy(each).view(torch.float16).float() for each in (bits, turned, base))
    np.testing.assert_array_equal(out, torch.stack([first - wide, second - wide]).numpy())


@pytest.mark.parametrize("count", [1, 15, 16, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sizes_between_bounds_are_gathered_in_order(count: int, dtype: type) -> None:
    values = np.random.default_rng(count).normal(size=count).astype(dtype)
    values[::7] = [np.nan, np.inf, 0.5, -1.0][count % 4]
    low, high, found = dtype(0.5), dtype(1.0), np.empty(count, dtype)
    above, inside = gather(values, (low, high), found)
    sizes = np.abs(values)
    assert above == np.count_nonzero(~(sizes < high))
    assert found[:inside].tolist() == sizes[(sizes > low) & (sizes < high)].tolist()


def test_what_is_not_a_number_stays_so_in_a_vote() -> None:
    rows = np.array([[1.0, np.nan, 2.0, np.inf], [1.0, 1.0, -3.0, 1.0], [0.1, -5.0, -1.0, 1.0]], np.float32)
    by_mass, by_count = (elect(tuple(rows), np.full(3, 0.5, np.float32), mass) for mass in (True, False))
    np.testing.assert_array_equal(by_mass, np.array([1.0, np.nan, -2.0, np.inf], np.float32))
    np.testing.assert_array_equal(by_count[1:3], np.array([np.nan, -2.0], np.float32))


def test_nothing_is_compiled_before_it_is_called() -> None:
    code = "import sys, enogu.merge.method as m; m.catalogue(); sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
