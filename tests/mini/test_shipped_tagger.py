"""The tagger that ships: it reads drawings it never saw, also as small models draw them."""

from importlib.resources import as_file, files

import cv2
import numpy as np
import pytest

from enogu.core.networks.tagger import Tagger
from enogu.mini.pen import Canvas
from enogu.mini.tagger_labels import CHARACTER, labels
from enogu.mini.tagger_pictures import held_out
from enogu.mini.traits import novel_tags

COUNT = 120


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    with as_file(files("enogu.mini") / "data" / "tagger") as folder:
        return Tagger.load(folder, threads=1)


@pytest.fixture(scope="module")
def drawings() -> tuple[list[Canvas], np.ndarray]:
    drawn = [held_out(2024, index) for index in range(COUNT)]
    return [picture for picture, _ in drawn], np.stack([tags for _, tags in drawn]) > 0.5


def small(picture: Canvas) -> Canvas:
    height, width = picture.shape[:2]
    scale = 64 / np.sqrt(height * width)
    sides = (round(width * scale / 8) * 8, round(height * scale / 8) * 8)
    return cv2.GaussianBlur(cv2.resize(picture, sides, interpolation=cv2.INTER_AREA), (0, 0), 0.6)


def test_its_columns_are_the_labels_of_this_version(tagger: Tagger) -> None:
    assert tagger.names == tuple(label.name for label in labels())


@pytest.mark.parametrize("worn", [False, True])
def test_it_names_what_new_drawings_show(tagger: Tagger, drawings: tuple[list[Canvas], np.ndarray], worn: bool) -> None:
    pictures, truth = drawings
    found = tagger.probabilities([small(picture) for picture in pictures] if worn else pictures) >= tagger.thresholds
    known = [column for column, label in enumerate(labels()) if label.category != CHARACTER]
    assert (found & truth)[:, known].sum() / truth[:, known].sum() > 0.95
    assert (found & truth)[:, known].sum() / found[:, known].sum() > 0.95


def test_it_knows_the_new_concepts(tagger: Tagger, drawings: tuple[list[Canvas], np.ndarray]) -> None:
    pictures, truth = drawings
    found = tagger.probabilities(pictures) >= tagger.thresholds
    for tag in novel_tags():
        column = tagger.names.index(tag)
        assert (found[:, column] == truth[:, column]).mean() > 0.97
