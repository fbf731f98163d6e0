"""Choosing tags: ensembles by their definitions, cuts by brute force, overlaps on the traps of other tools."""

from itertools import pairwise

import numpy as np
import pytest

from enogu.tagging.choosing import agreed, likeliest, mcut, without_overlaps

NAN = np.nan
SEEN = np.array([[[0.9, 0.2, NAN]], [[0.4, 0.3, 0.6]], [[0.3, 0.9, 0.1]]], np.float32)  # 3 taggers, 1 post, 3 tags
OWN = np.array([[0.5, 0.5, NAN], [0.35, 0.5, 0.5], [0.5, 0.5, 0.5]], np.float32)


@pytest.mark.parametrize(
    ("how", "chosen"),
    [
        ("union", [True, True, True]),
        ("vote", [True, False, True]),  # 2 of 3; 1 of 3; 1 of the 2 that know it
        ("mean", [True, False, False]),  # 0.533 against 0.45; 0.467 and 0.35 against 0.5
        ("max", [True, True, True]),
    ],
)
def test_an_ensemble_asks_those_who_know_a_tag(how: str, chosen: list[bool]) -> None:
    assert agreed(SEEN, OWN, how)[1].tolist() == [chosen]


def test_the_mean_is_over_those_who_know_a_tag() -> None:
    np.testing.assert_allclose(agreed(SEEN, OWN, "mean")[0], [[1.6 / 3, 1.4 / 3, 0.35]], atol=1e-6)


def test_one_tagger_is_its_own_ensemble() -> None:
    for how in ("union", "vote", "mean", "max"):
        assert agreed(SEEN[2:], OWN[2:], how)[1].tolist() == [[False, True, False]]


def test_mcut_is_the_middle_of_the_widest_gap() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((50, 12)).astype(np.float32)
    for row, cut in zip(values, mcut(values)[:, 0], strict=True):
        ordered = sorted(row.tolist(), reverse=True)
        gaps = [high - low for high, low in pairwise(ordered)]
        widest = gaps.index(max(gaps))
        assert cut == pytest.approx((ordered[widest] + ordered[widest + 1]) / 2, abs=1e-6)


def test_mcut_does_not_go_under_its_floor() -> None:
    assert mcut(np.array([[0.1, 0.01, 0.009]], np.float32), 0.15)[0, 0] == pytest.approx(0.15)


def test_the_likeliest_of_the_chosen() -> None:
    chosen = np.array([[True, True, False, True], [False, False, False, True]])
    probabilities = np.array([[0.4, 0.6, 0.9, 0.6], [0.9, 0.9, 0.9, 0.1]], np.float32)
    assert likeliest(chosen, probabilities, 2).tolist() == [[False, True, False, True], [False, False, False, True]]


@pytest.mark.parametrize(
    ("tags", "left"),
    [
        (["hat", "witch_hat"], ["witch_hat"]),
        (["sky", "skyscraper"], ["sky", "skyscraper"]),
        (["hat", "chat_log"], ["hat", "chat_log"]),
        (["cat", "cat_ears"], ["cat", "cat_ears"]),
        (["day", "birthday"], ["day", "birthday"]),
        (["eye", "eyewear"], ["eye", "eyewear"]),
        (["humans", "no_humans"], ["humans", "no_humans"]),
        (["hair", "long_hair", "very_long_hair"], ["very_long_hair"]),
    ],
)
def test_a_tag_goes_only_where_another_says_it_more_exactly(tags: list[str], left: list[str]) -> None:
    assert without_overlaps(tags) == left


def test_what_is_implied_need_not_be_said() -> None:
    assert without_overlaps(["thighhighs", "socks"], [("thighhighs", "socks")]) == ["thighhighs"]
