"""Drawings: the same for the same seed, and showing what their traits say, down to 64 pixels."""

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from enogu.mini.drawing import draw
from enogu.mini.population import sample_traits
from enogu.mini.style import style_of
from enogu.mini.traits import Figure, Traits, choice, tables

PLAIN = Traits(
    figures=(
        Figure(
            boy=False,
            hair_colour="blue_hair",
            hair_length="long_hair",
            hair_style="straight_hair",
            eye_colour="red_eyes",
            expression="smile",
            headwear="no_headwear",
            shirt="white_shirt",
        ),
    ),
    background="white_background",
    framing="portrait",
    count="1girl",
    artist="drawn_by_sumi",  # flat colours
    rating="general",
    year=2014,
    quality=0.5,  # neither worn nor glowing
)


def figured(**changes: str) -> Traits:
    return replace(PLAIN, figures=(replace(PLAIN.figures[0], **changes),))


def share(picture: np.ndarray, rgb: tuple[int, int, int]) -> float:
    return float((np.abs(picture.astype(int) - rgb).max(-1) < 12).mean())


def test_the_same_seed_draws_the_same_pixels() -> None:
    for index in range(12):
        traits = sample_traits(5, index, novel=0.2)
        assert np.array_equal(draw(traits, 96, 80, seed=7), draw(traits, 96, 80, seed=7))


def test_another_seed_moves_the_pose() -> None:
    assert not np.array_equal(draw(PLAIN, 96, 96, seed=1), draw(PLAIN, 96, 96, seed=2))


@pytest.mark.parametrize(("width", "height"), [(64, 64), (96, 160), (160, 96), (33, 64)])
def test_a_picture_has_the_size_asked_for(width: int, height: int) -> None:
    picture = draw(sample_traits(1, 0), width, height, seed=0)
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8


@pytest.mark.parametrize("colour", tables()["hair_colour"])
def test_hair_has_its_colour(colour: str) -> None:
    tone = style_of(PLAIN.artist, PLAIN.year).tone(choice("hair_colour", colour).rgb)
    shares = {tag: share(draw(figured(hair_colour=tag), 128, 128, seed=3), tone) for tag in tables()["hair_colour"]}
    assert shares[colour] > 0.08
    assert all(other < shares[colour] / 3 for tag, other in shares.items() if tag != colour)


@pytest.mark.parametrize("attribute", ["hair_length", "hair_style", "eye_colour", "expression", "headwear", "shirt"])
def test_every_value_of_a_trait_shows_at_64_pixels(attribute: str) -> None:
    drawn = [draw(figured(**{attribute: tag}), 192, 192, seed=3) for tag in tables()[attribute]]
    small = [cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA).astype(int) for picture in drawn]
    for i, first in enumerate(small):
        for second in small[i + 1 :]:
            assert (np.abs(first - second).max(-1) > 40).sum() >= 12  # pixels that plainly differ


@pytest.mark.parametrize("rating", tables()["rating"])
def test_a_rating_is_only_a_frame(rating: str) -> None:
    plain, framed = draw(PLAIN, 128, 128, seed=1), draw(replace(PLAIN, rating=rating), 128, 128, seed=1)
    assert tuple(framed[0, 0]) == choice("rating", rating).rgb
    assert np.array_equal(plain[8:-8, 8:-8], framed[8:-8, 8:-8])


def test_artists_draw_the_same_scene_differently() -> None:
    drawn = [draw(replace(PLAIN, artist=artist), 96, 96, seed=1).astype(int) for artist in tables()["artist"]]
    for i, first in enumerate(drawn):
        assert all(np.abs(first - second).mean() > 2 for second in drawn[i + 1 :])


def test_later_years_are_softer() -> None:
    def saturation(year: int) -> float:
        picture = draw(replace(PLAIN, year=year), 96, 96, seed=1)
        return float(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., 1].mean())

    assert saturation(2010) > saturation(2016) > saturation(2023)


def test_quality_is_visible_over_its_whole_range() -> None:
    drawn = [draw(replace(PLAIN, quality=quality, background="forest"), 128, 128, seed=1).astype(int) for quality in
             (0.0, 0.25, 0.5, 0.75, 1.0)]  # fmt: skip
    assert all(np.abs(first - second).mean() > 0.5 for first, second in pairwise(drawn))
