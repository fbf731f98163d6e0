"""Buckets against a brute-force reference and against the published figures."""

import math

import numpy as np
import pytest

from enogu.core.records.errors import Refused
from enogu.latents.buckets import Buckets, kept
from enogu.latents.survey import survey

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


def kohya_choice(width: int, height: int, area: int, step: int) -> tuple[int, int]:
    """sd-scripts' bucket_no_upscale, step by step as its code reads (library/train_util.py, 2026-02)."""

    def rounded(length: float) -> int:
        return int(length + 0.5) - int(length + 0.5) % step

    ratio = width / height
    if width * height <= area:
        return width - width % step, height - height % step
    across = math.sqrt(area * ratio)
    by_width, by_height = rounded(across), rounded(area / across)
    error_by_width = abs(by_width / rounded(by_width / ratio) - ratio)
    error_by_height = abs(rounded(by_height * ratio) / by_height - ratio)
    if error_by_width < error_by_height:
        resized = (by_width, int(by_width / ratio + 0.5))
    else:
        resized = (int(by_height * ratio + 0.5), by_height)
    return resized[0] - resized[0] % step, resized[1] - resized[1] % step


@pytest.mark.parametrize("step", [8, 32, 64])
def test_kohya_without_upscaling(step: int) -> None:
    table = Buckets(area=512 * 512, step=step, upscale=False, table="kohya")
    sizes = SIZES[(SIZES >= 200).all(axis=1)]
    for (width, height), chosen in zip(sizes.tolist(), table.assign(sizes[:, 0], sizes[:, 1]).tolist(), strict=True):
        expected = kohya_choice(width, height, 512 * 512, step)
        assert tuple(chosen) == (expected if all(expected) else (0, 0))


def test_kohya_takes_the_nearest_linear_ratio_and_a_pictures_own_size() -> None:
    table = Buckets(area=1024 * 1024, table="kohya")
    shapes = [tuple(shape) for shape in table.shapes.tolist()]
    assert shapes == sorted(shapes)
    for (width, height), chosen in zip(SIZES.tolist(), table.assign(SIZES[:, 0], SIZES[:, 1]).tolist(), strict=True):
        assert tuple(chosen) == min(shapes, key=lambda shape: abs(shape[0] / shape[1] - width / height))
    assert Buckets(area=1536 * 1536, table="kohya").choose(1536, 1536) == (1536, 1536)


def test_the_side_of_1024_that_halves_the_pixels_of_wide_pictures() -> None:
    """A maker's own logs: 25 buckets, 704x1024 the fullest, 0.76 megapixels on average where 1.05 were meant."""
    capped = Buckets(area=1024 * 1024, table="kohya")
    assert len(capped.shapes) == 25
    assert capped.choose(1000, 1414) == (704, 1024)
    assert capped.choose(2000, 1000) == (1024, 512)
    even = Buckets(area=1024 * 1024)
    assert even.choose(2000, 1000) == (1408, 704)
    assert even.shapes.prod(axis=1).min() > 0.9 * 1024 * 1024


@pytest.mark.parametrize(("side", "shapes"), [(512, 11), (768, 19), (1024, 15)])
def test_everydream2(side: int, shapes: int) -> None:
    table = Buckets(area=side * side, table="everydream2")
    found = [tuple(shape) for shape in table.shapes.tolist()]
    assert (len(found), found.count((side, side))) == (shapes, 1)
    for (width, height), chosen in zip(SIZES.tolist(), table.assign(SIZES[:, 0], SIZES[:, 1]).tolist(), strict=True):
        distances = {shape: abs(shape[0] / shape[1] - width / height) for shape in found}
        assert distances[tuple(chosen)] == pytest.approx(min(distances.values()))


def test_everydream2_has_no_shapes_for_every_side() -> None:
    with pytest.raises(Refused, match=r"no shapes for area 448²; its sides are 512, 576"):
        _ = Buckets(area=448 * 448, table="everydream2").shapes


def test_the_survey_counts_as_one_would_by_hand() -> None:
    sizes = np.array([[64, 64], [128, 64], [300, 64], [32, 32], [0, 10]])
    found = survey(Buckets(area=64 * 64, step=32, min_side=32, max_side=64), sizes[:, 0], sizes[:, 1])
    shares = [1, 1, 128 / 300, 1]  # the shapes are 64x64, 64x32 and 32x64
    assert found == {
        "shapes": 2,
        "megapixels": pytest.approx((4096 + 2048 + 2048 + 4096) / 4 / 1e6),
        "kept": pytest.approx(sum(shares) / 4),
        "cropped": 0.25,
        "enlarged": 0.25,
        "left_out": pytest.approx(0.2),
    }
