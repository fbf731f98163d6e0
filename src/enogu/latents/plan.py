"""The global batch plan: which records make up each batch of an epoch, the same for every rank and worker.

Each bucket is an endless stream: its pictures shuffled for epoch 0, then shuffled anew for epoch 1, and so on. The
stream is cut into batches, and an epoch takes the batches that end within it. So a bucket's remainder is carried
into the next epoch, every batch is full, and after any epoch every picture has been used equally often, or once less
while it waits in a remainder. A picture with a mirror image shows one side in one epoch, the other in the next.
A bucket of fewer pictures than a batch is served in few epochs, and then repeats them within one batch.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from enogu.core.records.errors import Refused
from enogu.core.records.seed import generator

LONGEST = 1 << 16  # pixels; two sides fit one number
Sides = tuple[np.ndarray, np.ndarray]  # rows of a bucket's pictures by post: as they are, and mirrored or as they are


def plan(index: pl.DataFrame, *, batch: int, seed: int, epoch: int, world: int = 1) -> list[np.ndarray]:
    """Return the batches of an epoch, each an array of rows of the index; rank r of `world` takes batch[r::world]."""
    if batch % world:
        raise Refused(f"batch = {batch} cannot be shared by {world} ranks; make it a multiple of {world}")
    cut: list[np.ndarray] = []
    for bucket, pictures in _buckets(index):
        count, name = len(pictures[0]), f"{bucket[0]}x{bucket[1]}"
        first, end = (epoch * count // batch) * batch, ((epoch + 1) * count // batch) * batch
        if end > first:
            stream = _stream(pictures, first, end, seed=seed, name=name)
            cut += list(stream.reshape(-1, batch))
    order = generator(seed, "batch order", epoch).permutation(len(cut))
    return [cut[number] for number in order]


def _stream(pictures: Sides, first: int, end: int, *, seed: int, name: str) -> np.ndarray:
    """Return the rows at positions first to end of a bucket's endless stream."""
    straight, mirrored = pictures
    count = len(straight)
    rows = []
    for epoch in range(first // count, (end - 1) // count + 1):
        order = generator(seed, "bucket order", name, epoch).permutation(count)
        order = order[max(0, first - epoch * count) : end - epoch * count]
        if mirrored is straight:
            rows.append(straight[order])
        else:
            side = generator(seed, "bucket sides", name).integers(2, size=count)
            rows.append(np.where((side[order] + epoch) % 2, mirrored[order], straight[order]))
    return np.concatenate(rows)


def _buckets(index: pl.DataFrame) -> Iterator[tuple[tuple[int, int], Sides]]:
    """Yield each bucket with its pictures, from narrow to wide."""
    posts = index["post"].to_numpy()
    shape = pl.col("width").cast(pl.Int64) * LONGEST + pl.col("height")  # one number is grouped in half the memory
    rows = index.select("post", "flipped", shape=shape, row=pl.int_range(pl.len(), dtype=pl.UInt32))
    single = bool((posts[1:] > posts[:-1]).all())  # as without mirror images
    if not single:
        rows = rows.sort("post", "flipped")
    groups = rows.select("shape", "row").group_by("shape").agg("row").sort("shape")  # in a group, rows keep their order
    for found, of in zip(*groups.iter_columns(), strict=True):
        yield divmod(found, LONGEST), _sides(of.to_numpy(), None if single else posts)


def _sides(rows: np.ndarray, posts: np.ndarray | None) -> Sides:
    """Return the rows of a bucket's pictures as they are and mirrored; one and the same where each has one row."""
    if posts is None:
        return rows, rows
    first = np.append(True, posts[rows[1:]] != posts[rows[:-1]])  # of a post's rows: straight before mirrored
    return rows[first], rows[np.append(first[1:], True)]
