"""The compiled loops, beside what numpy and torch say."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from enogu.merge.loops import differences, elect, elect_between, gather, narrow


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


def test_narrowing_rounds_every_kind_of_float_as_torch_does() -> None:
    values = np.arange(0, 1 << 32, 4099, dtype=np.uint64).astype(np.uint32).view(np.float32)
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    with np.errstate(all="ignore"):
        near = [np.nextafter(halves, np.float32(end)) for end in (-np.inf, np.inf)]
        middles = [(halves[:-1] + halves[1:]) / 2]  # as far from the one as from the other
    for each in (values, halves, *near, *middles):
        bits = np.empty(len(each), np.uint16)
        finite = narrow(each, bits)
        expected = torch.from_numpy(each).half()
        np.testing.assert_array_equal(bits, expected.view(torch.uint16).numpy())
        assert finite == bool(expected.isfinite().all())
    assert narrow(np.array([65519.0, -1e-9], np.float32), bits[:2])


@pytest.mark.parametrize("by_mass", [True, False])
@pytest.mark.parametrize("count", [1, 1024, 3001])
def test_electing_between_bounds_is_electing_above_them_and_a_list_of_what_lies_between(
    count: int, by_mass: bool
) -> None:
    rng = np.random.default_rng(count)
    base = (0.1 * rng.standard_normal(count)).astype(np.float16)
    others = [(base + 0.01 * rng.standard_normal(count)).astype(np.float16) for _ in range(3)]
    others[1][::5] = base[::5]
    low, high = np.full((2, 3), [[0.01], [0.012]], np.float32)
    sums, places, held = np.empty(count, np.uint16), np.empty(count, np.int32), np.empty((4, count), np.uint16)
    stored = [each.view(np.uint16) for each in (base, *others)]
    number, beyond, finite = elect_between(tuple(stored), (low, high, by_mass), (sums, places, held))
    rows = np.stack([each.astype(np.float32) - base.astype(np.float32) for each in others])
    kept = elect(tuple(rows), np.nextafter(high, np.float32(0)), by_mass)
    assert np.array_equal(sums.view(np.float16), (base.astype(np.float32) + kept).astype(np.float16))
    open_places = np.nonzero(((low[0] < abs(rows)) & (abs(rows) < high[0])).any(0))[0]
    assert places[:number].tolist() == open_places.tolist()
    assert held[:, :number].tolist() == np.stack(stored)[:, open_places].tolist()
    assert beyond.tolist() == (abs(rows) >= high[0]).sum(1).tolist()
    assert finite


def test_nothing_is_compiled_before_it_is_called() -> None:
    code = "import sys, enogu.merge.method as m; m.catalogue(); sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
