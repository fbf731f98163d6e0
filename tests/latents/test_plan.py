"""The batch plan: one bucket per batch, the same for every world size, every picture equally often."""

from collections import Counter

import numpy as np
import polars as pl
import pytest

from enogu.core.records.errors import Refused
from enogu.latents.plan import plan

SHAPES = [(64, 64)] * 53 + [(48, 80)] * 17 + [(80, 48)] * 8 + [(32, 128)] * 3 + [(128, 32)]
BATCH = 8


def index(*, flip: bool = False) -> pl.DataFrame:
    rows = [
        {"post": post, "width": width, "height": height, "flipped": flipped}
        for post, (width, height) in enumerate(SHAPES)
        for flipped in ((False, True) if flip else (False,))
    ]
    return pl.DataFrame(rows)


def posts(frame: pl.DataFrame, batches: list[np.ndarray]) -> list[int]:
    return frame["post"].to_numpy()[np.concatenate(batches)].tolist() if batches else []


def test_every_batch_is_full_and_of_one_bucket() -> None:
    frame = index()
    for epoch in range(30):
        for batch in plan(frame, batch=BATCH, seed=3, epoch=epoch):
            assert len(batch) == BATCH
            assert len({SHAPES[post] for post in posts(frame, [batch])}) == 1


@pytest.mark.parametrize("flip", [False, True])
def test_after_every_epoch_every_picture_was_used_equally_often_or_waits(flip: bool) -> None:
    frame = index(flip=flip)
    seen: Counter[int] = Counter()
    for epoch in range(40):
        seen.update(posts(frame, plan(frame, batch=BATCH, seed=3, epoch=epoch)))
        for shape in set(SHAPES):
            count = SHAPES.count(shape)
            uses = [seen[post] for post, of in enumerate(SHAPES) if of == shape]
            assert sum(uses) == (epoch + 1) * count // BATCH * BATCH  # all but the remainder
            assert max(uses) <= epoch + 1
            assert min(uses) >= epoch + 1 - -(-BATCH // count)
    assert all(count == 40 for count in seen.values())  # 40 epochs end on a whole batch for every bucket
    assert set(seen) == set(range(len(SHAPES)))


def test_within_an_epoch_a_picture_returns_only_from_the_remainder_before() -> None:
    frame = index()
    for epoch in range(5):
        counts = Counter(posts(frame, plan(frame, batch=BATCH, seed=3, epoch=epoch)))
        again = sum(count - 1 for post, count in counts.items() if SHAPES[post] == (64, 64))
        assert again < BATCH


@pytest.mark.parametrize("world", [1, 2, 4, 8])
def test_ranks_share_the_same_plan(world: int) -> None:
    frame = index()
    alone = plan(frame, batch=BATCH, seed=5, epoch=2)
    ranks = [
        [batch[rank::world] for batch in plan(frame, batch=BATCH, seed=5, epoch=2, world=world)]
        for rank in range(world)
    ]
    assert {len(part) for rank in ranks for part in rank} == {BATCH // world}
    for number, batch in enumerate(alone):
        assert sorted(np.concatenate([rank[number] for rank in ranks])) == sorted(batch)


def test_a_batch_that_ranks_cannot_share_is_refused() -> None:
    with pytest.raises(Refused, match="batch = 8 cannot be shared by 3"):
        plan(index(), batch=8, seed=0, epoch=0, world=3)


def test_seed_and_epoch_change_the_order_and_nothing_else_does() -> None:
    frame = index()
    first = posts(frame, plan(frame, batch=BATCH, seed=1, epoch=0))
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=9)
    assert first == posts(frame, plan(frame, batch=BATCH, seed=1, epoch=0))
    assert first == posts(shuffled, plan(shuffled, batch=BATCH, seed=1, epoch=0))
    assert first != posts(frame, plan(frame, batch=BATCH, seed=2, epoch=0))
    assert first != posts(frame, plan(frame, batch=BATCH, seed=1, epoch=1))


def test_buckets_are_mixed_over_the_epoch() -> None:
    frame = index()
    shapes = [SHAPES[posts(frame, [batch])[0]] for batch in plan(frame, batch=4, seed=1, epoch=0)]
    assert shapes != sorted(shapes)


def test_each_side_of_a_mirrored_picture_in_turn() -> None:
    frame = index(flip=True)
    flipped = frame["flipped"].to_numpy()
    sides: dict[int, list[bool]] = {}
    for epoch in range(16):
        rows = np.concatenate(plan(frame, batch=1, seed=1, epoch=epoch))
        assert 0.3 < flipped[rows].mean() < 0.7
        for row in rows:
            sides.setdefault(int(frame["post"][int(row)]), []).append(bool(flipped[row]))
    for turns in sides.values():
        assert turns in ([False, True] * 8, [True, False] * 8)


def test_a_big_plan_is_quick() -> None:
    """A million pictures; ten seconds would already hold a training run up."""
    count = 1_000_000
    shapes = np.array(SHAPES)[np.random.default_rng(0).integers(len(SHAPES), size=count)]
    frame = pl.DataFrame(
        {"post": np.arange(count), "width": shapes[:, 0], "height": shapes[:, 1], "flipped": [False] * count}
    )
    batches = plan(frame, batch=128, seed=0, epoch=3)
    assert sum(map(len, batches)) > count - 5 * 128
