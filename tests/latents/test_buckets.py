"""Buckets against a brute-force reference and against the published figures."""

import math

import numpy as np
import pytest

from enogu.latents.buckets import Buckets, kept

TABLES = [
    Buckets(area=64 * 64, step=16),
    Buckets(area=96 * 96, step=8),
    Buckets(area=512 * 512),
    Buckets(area=512 * 768, min_side=256, max_side=1024),
    Buckets(area=1024 * 1024, min_side=512, max_side=2048),
    Buckets(area=1024 * 1024, max_side=1024),
]
SIZES = np.random.default_rng(11).integers(1, 3000, (400, 2))


def largest_shapes(table: Buckets, smallest: int, largest: int) -> set[tuple[int, int]]:
    """Every shape on the grid within the area to which no step can be added on one of its sides."""
    sides = range(smallest, largest + 1, table.step)
    fits = {(w, h) for w in sides for h in sides if w * h <= table.area}
    maximal = {(w, h) for w, h in fits if (w, h + table.step) not in fits or (w + table.step, h) not in fits}
    square = int(min(math.sqrt(table.area), largest)) // table.step * table.step
    return maximal | {(square, square)}


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_shapes_are_all_that_cannot_grow_on_one_side(table: Buckets) -> None:
    side = math.isqrt(table.area)
    smallest = table.min_side or side // 2 // table.step * table.step
    largest = table.max_side or 2 * side // table.step * table.step
    assert {tuple(shape) for shape in table.shapes.tolist()} == largest_shapes(table, smallest, largest)


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_a_picture_goes_to_the_nearest_ratio(table: Buckets) -> None:
    chosen = table.assign(SIZES[:, 0], SIZES[:, 1])
    for (width, height), shape in zip(SIZES.tolist(), chosen.tolist(), strict=True):
        distances = {(w, h): abs(math.log(width * h / (height * w))) for w, h in map(tuple, table.shapes.tolist())}
        assert distances[tuple(shape)] <= min(distances.values()) + 1e-8
        assert table.choose(width, height) == tuple(shape)


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_turning_a_picture_turns_its_bucket(table: Buckets) -> None:
    across = table.assign(SIZES[:, 0], SIZES[:, 1])
    down = table.assign(SIZES[:, 1], SIZES[:, 0])
    same_ratio = np.abs(np.log(across[:, 0] / across[:, 1]) + np.log(down[:, 0] / down[:, 1])) < 1e-9
    assert same_ratio.all()


@pytest.mark.parametrize(
    ("area", "step", "shapes", "least_area", "mean_loss", "worst_loss"),
    [
        (1024**2, 64, 33, 0.906, 0.030, 0.064),
        (1024**2, 32, 65, 0.946, 0.015, 0.033),
        (512**2, 64, 17, 0.8125, 0.065, 0.13),
        (768**2, 64, 25, 0.875, 0.041, 0.085),
    ],
)
def test_known_tables(
    area: int, step: int, shapes: int, least_area: float, mean_loss: float, worst_loss: float
) -> None:
    """Counts and crop losses for ratios in [1/2, 2], computed by others for sides of half to twice the square."""
    table = Buckets(area=area, step=step)
    assert len(table.shapes) == shapes
    assert table.shapes.prod(axis=1).min() / area == pytest.approx(least_area, abs=6e-4)
    widths = np.exp(np.linspace(-math.log(2), math.log(2), 4001)) * 1e5
    chosen = table.assign(widths, np.full_like(widths, 1e5))
    losses = [1 - kept(width, 1e5, (w, h)) for width, (w, h) in zip(widths, chosen.tolist(), strict=True)]
    assert np.mean(losses) == pytest.approx(mean_loss, abs=6e-4)
    assert np.max(losses) == pytest.approx(worst_loss, abs=1.5e-3)


@pytest.mark.parametrize("area", [64 * 64, 512 * 512])
def test_without_upscaling_nothing_is_enlarged(area: int) -> None:
    table = Buckets(area=area, step=16, upscale=False)
    upscaling = Buckets(area=area, step=16)
    chosen = table.assign(SIZES[:, 0], SIZES[:, 1])
    for (width, height), (w, h) in zip(SIZES.tolist(), chosen.tolist(), strict=True):
        assert (w, h) == (0, 0) or (w <= width and h <= height and w * h <= area and w % 16 == h % 16 == 0)
        nearest = upscaling.choose(width, height)
        if nearest[0] <= width and nearest[1] <= height:
            assert (w, h) == nearest
    assert (chosen == 0).any()
    assert (chosen > 0).any()


def test_unknown_sizes_get_no_bucket() -> None:
    assert TABLES[0].assign(np.array([0, 5, 0]), np.array([5, 0, 0])).tolist() == [[0, 0]] * 3
    assert TABLES[0].assign(np.array([], int), np.array([], int)).shape == (0, 2)


@pytest.mark.parametrize(
    ("size", "shape", "share"),
    [((100, 100), (64, 64), 1), ((200, 100), (64, 64), 0.5), ((100, 400), (64, 128), 0.5), ((30, 60), (60, 90), 0.75)],
)
def test_kept_share(size: tuple[int, int], shape: tuple[int, int], share: float) -> None:
    assert kept(*size, shape) == pytest.approx(share)
