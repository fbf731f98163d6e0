"""Reading: the same caption for the same (seed, epoch, post), whoever reads it, and in whatever order."""

import pickle

import pytest

from enogu.captions.config import CaptionSet
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


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_any_number_of_workers_reads_the_same(folder, workers):
    alone = [reader(folder, 3).caption(one, epoch=epoch) for epoch in range(6) for one in POSTS]
    jobs = [(epoch, one) for epoch in range(6) for one in POSTS]
    many = [pickle.loads(pickle.dumps(reader(folder, 3))) for _ in range(workers)]
    assert [many[n % workers].caption(one, epoch=epoch) for n, (epoch, one) in enumerate(jobs)] == alone


def test_words_change_places_only_every_so_many_epochs(captioned):
    tags = [f"t{number}" for number in range(30)]
    folder, _ = captioned([post(1, tags_general=tags)], shuffle_every=10, drop_caption=0.0, drop_tags=0.3)
    read = reader(folder, 0)
    orders = [read.caption(1, epoch=epoch).split(", ") for epoch in range(30)]
    for first in (0, 10, 20):
        assert len({tuple(words) for words in orders[first : first + 10]}) == 10  # dropout is drawn at each read
    plain, _ = captioned([post(1, tags_general=tags)], shuffle_every=10, drop_caption=0.0)
    read = reader(plain, 0)
    orders = [read.caption(1, epoch=epoch) for epoch in range(30)]
    assert [orders.index(order) // 10 * 10 for order in orders] == [0] * 10 + [10] * 10 + [20] * 10


def test_sets_of_one_post_have_rules_of_their_own(captioned):
    sets = {
        "tags": CaptionSet(),
        "still": CaptionSet(shuffle_after="", drop_caption=0.0, drop_tags=0.0, separator=" / "),
        "bare": CaptionSet(drop_caption=0.0, drop_tags=0.99, never_drop=("artist",), never_drop_tags=("cat_*",)),
    }
    folder, _ = captioned([post(1)], sets=sets, drop_caption=0.5, drop_tags=0.5)
    read = reader(folder, 0)
    assert {read.caption(1, epoch=epoch, set="still") for epoch in range(9)} == {read.plain(1, "still")}
    assert read.plain(1, "still").startswith("1girl / hatsune miku / vocaloid / some one / blue hair")
    for epoch in range(30):
        assert {"some one", "cat ears"} <= set(read.caption(1, epoch=epoch, set="bare").split(", "))
    assert "" in {read.caption(1, epoch=epoch) for epoch in range(20)}
