"""Near duplicates: nothing within the distance is missed, nothing beyond it is joined, the best of a group stays."""

import itertools

import cv2
import numpy as np
import polars as pl
import pytest
from PIL import Image

from enogu.core.records.errors import Refused
from enogu.core.records.posts import read_manifest
from enogu.posts.duplicates import best, grouped, groups, pairs

from .conftest import post, write_json_lines


def crowded(count, seed):
    """Hashes with many near ones, equal ones and common blocks."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 1 << 64, count // 6, dtype=np.uint64)
    hashes = rng.choice(centres, count)
    for _ in range(3):
        flip = np.uint64(1) << rng.integers(0, 64, count, dtype=np.uint64)
        hashes = np.where(rng.random(count) < 0.6, hashes ^ flip, hashes)
    return np.concatenate([hashes, np.arange(40, dtype=np.uint64)])


def by_hand(hashes, distance):
    """Compare all with all; walk from each to what it reaches."""
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    near = [np.flatnonzero(row <= distance) for row in apart]
    group = [-1] * len(hashes)
    for start in range(len(hashes)):
        ahead = [start] if group[start] < 0 else []
        while ahead:
            here = ahead.pop()
            if group[here] < 0:
                group[here] = start
                ahead += near[here].tolist()
    return group


@pytest.mark.parametrize("distance", range(9))
def test_groups_are_those_of_a_comparison_of_all_with_all(distance):
    hashes = crowded(400, seed=distance)
    assert groups(hashes, distance).tolist() == by_hand(hashes, distance)


@pytest.mark.parametrize("distance", [1, 3, 6])
def test_every_pair_within_the_distance_is_found_and_no_other(distance):
    hashes = np.unique(crowded(300, seed=9)).tolist()
    close = {(a, b) for a, b in itertools.combinations(hashes, 2) if (a ^ b).bit_count() <= distance}
    assert pairs(np.array(hashes, np.uint64), distance) == close
    assert close


def test_chains_hang_together_however_long():
    steps = np.cumsum(np.append(np.uint64(0), np.uint64(1) << np.arange(60, dtype=np.uint64)), dtype=np.uint64)
    shuffled = np.random.default_rng(0).permutation(steps)
    assert set(groups(shuffled, 1).tolist()) == {0}
    assert len(set(groups(shuffled, 0).tolist())) == 61


def test_no_hashes_and_one_hash():
    assert groups(np.empty(0, np.uint64)).tolist() == []
    assert groups(np.array([7], np.uint64)).tolist() == [0]
    with pytest.raises(Refused, match="0 to 16"):
        groups(np.array([7, 8], np.uint64), 17)


def test_pictures_of_ties_are_only_grouped_with_their_equals():
    posts = pl.DataFrame({"id": [1, 2, 3, 4], "image": ["a", "b", "c", "d"]})
    hashed = pl.DataFrame(
        {
            "image": ["a", "b", "c", "d"],
            "phash": [1 << 63, 1 << 63, 1 << 63, None],
            "pixel_hash": ["x", "y", "x", None],
        },
        schema_overrides={"phash": pl.UInt64},
    )
    assert grouped(posts, hashed)["group"].to_list() == [0, 1, 0, 3]


def test_the_best_has_the_highest_score_then_the_most_pixels_then_is_the_oldest():
    rows = [(1, 0, 5, 10), (2, 0, 9, 10), (3, 0, None, 99), (4, 1, 5, 10), (5, 1, 5, 20), (6, 2, 5, 10), (7, 2, 5, 10)]
    posts = pl.DataFrame(rows, schema=["id", "group", "score", "width"], orient="row").with_columns(height=1)
    assert best(posts)["id"].to_list() == [2, 5, 6]


def scene(seed, side=96):
    """A picture with coarse shapes, as a drawing has."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def test_the_stage_keeps_the_best_of_copies_in_other_sizes_and_forms(tmp_path, freeze):
    folder = tmp_path / "b"
    folder.mkdir()
    for number in range(1, 7):
        picture = Image.fromarray(scene(number % 3, side=96 if number < 4 else 160))
        picture.save(folder / f"{number}.{'png' if number < 4 else 'webp'}", **({"quality": 80} if number > 3 else {}))
    scores = {1: 5, 4: 4, 2: 1, 5: 2, 3: 7, 6: 7}
    exts = {number: "png" if number < 4 else "webp" for number in scores}
    write_json_lines(folder, [post(n, score=scores[n], file_ext=exts[n]) for n in sorted(scores)])
    out, summary = freeze(folder, distinct=3)
    assert read_manifest(out).frame["id"].to_list() == [1, 5, 6]
    assert summary["funnel"][-1] == {"step": "best of its group", "left": 3}
    _, everyone = freeze(folder, out="all")
    assert everyone["posts"] == 6
