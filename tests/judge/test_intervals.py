"""Intervals against exact enumeration, coverage on known data, and the pairing they rest on."""

from itertools import product

import numpy as np
import pytest

from enogu.judge.intervals import interval, spread


def test_three_prompts_agree_with_all_27_resamples() -> None:
    units = np.array([0.0, 0.3, 1.0])
    exact = sorted(np.mean(pick) for pick in product(units, repeat=3))
    by = interval(units[:, None], np.random.default_rng(0), resamples=200_000)
    assert by.mean == pytest.approx(units.mean())
    assert by.low == pytest.approx(exact[0])  # each end has probability 1/27 > 2.5 %
    assert by.high == pytest.approx(exact[-1])


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng, covered, trials = np.random.default_rng(1), 0, 300
    for _ in range(trials):
        prompts = rng.normal(0.5, 0.3, (40, 1)) + rng.normal(0, 0.1, (40, 3))
        by = interval(prompts, rng, resamples=500)
        covered += by.low <= 0.5 <= by.high
    assert 0.89 < covered / trials < 0.99


def test_seeds_of_a_prompt_stay_together() -> None:
    alike = np.repeat(np.random.default_rng(2).random((20, 1)), 50, axis=1)  # 50 seeds that add nothing
    one, many = (interval(cells, np.random.default_rng(3)) for cells in (alike[:, :1], alike))
    assert (many.low, many.high) == pytest.approx((one.low, one.high))


def test_pairing_removes_what_prompts_have_in_common() -> None:
    rng = np.random.default_rng(4)
    base = rng.random((30, 3))
    paired = interval((base + 0.05) - base, rng)
    assert (paired.low, paired.high) == pytest.approx((0.05, 0.05))


def test_a_single_prompt_resamples_its_seeds() -> None:
    by = interval(np.array([[0.0, 1.0, 1.0, 0.0]]), np.random.default_rng(5))
    assert by.low < 0.5 < by.high


def test_spread_is_over_seeds() -> None:
    cells = np.array([[0.0, 0.2], [1.0, 0.8], [0.5, 0.2]])
    assert spread(cells) == pytest.approx(np.std([0.5, 0.4], ddof=1))
    assert spread(cells[:, :1]) == 0
