"""Reading: the same caption for the same (seed, epoch, post), whoever reads it, and in whatever order."""

import pickle

import pytest

from enogu.captions.reading import reader
from enogu.core.records.errors import Refused

from .conftest import post

POSTS = [3, 5, 8, 1000, 2**60]
RATES = {"drop_caption": 0.2, "drop_tags": 0.1, "year": "hakubooru"}


@pytest.fixture
def folder(captioned):
    folder, _ = captioned([post(number) for number in POSTS], quality="animeboysxl", **RATES)
    return folder


def test_what_is_read_follows_from_seed_epoch_and_post_alone(folder):
    keys = [(epoch, one) for epoch in range(20) for one in POSTS]
    read, other_seed = reader(folder, 7), reader(folder, 8)
    first = [read.caption(one, epoch=epoch) for epoch, one in keys]
    worker = pickle.loads(pickle.dumps(reader(folder, 7)))  # as a worker process gets it
    backwards = [worker.caption(one, epoch=epoch) for epoch, one in reversed(keys)]
    assert backwards[::-1] == first
    assert [other_seed.caption(one, epoch=epoch) for epoch, one in keys] != first


def test_epochs_and_posts_differ(folder):
    read = reader(folder, 7)
    by_epoch = {read.caption(POSTS[0], epoch=epoch) for epoch in range(20)}
    by_post = {read.caption(one, epoch=0) for one in POSTS}
    assert len(by_epoch) > 10
    assert len(by_post) > 3


def test_adding_posts_changes_no_caption(folder, captioned):
    read = reader(folder, 7)
    before = [read.caption(one, epoch=2) for one in POSTS]
    more, _ = captioned(
        [post(number) for number in [1, *POSTS, 2**61]],
        quality="animeboysxl",
        **RATES,
    )
    again = reader(more, 7)
    assert [again.caption(one, epoch=2) for one in POSTS] == before


def test_a_post_or_a_set_that_is_not_there_is_refused(folder):
    read = reader(folder, 0)
    for missing in (0, 4, 2**61):
        with pytest.raises(Refused, match=f"post {missing} has no caption"):
            read.plain(missing)
    with pytest.raises(Refused, match="caption set 'tag'; did you mean 'tags'"):
        read.caption(3, epoch=0, set="tag")
