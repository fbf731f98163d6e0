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
    epochs = range(first // count, (end - 1) // count + 1)
    side = generator(seed, "bucket sides", name).integers(2, size=count)
    rows = []
    for epoch in epochs:
        order = generator(seed, "bucket order", name, epoch).permutation(count)
        rows.append(np.where((side[order] + epoch) % 2, mirrored[order], straight[order]))
    return np.concatenate(rows)[first - epochs[0] * count :][: end - first]


def _buckets(index: pl.DataFrame) -> Iterator[tuple[tuple[int, int], Sides]]:
    """Yield each bucket with its pictures, from narrow to wide."""
    posts, flipped = index["post"].to_numpy(), index["flipped"].to_numpy()
    shapes = index["width"].to_numpy().astype(np.int64) * LONGEST + index["height"].to_numpy()
    order = np.arange(len(index)) if _sorted(posts, flipped) else np.lexsort((flipped, posts))
    found, codes = np.unique(shapes, return_inverse=True)
    order = order[np.argsort(codes.astype(np.uint16)[order], kind="stable")]  # 16 bits: sorted by radix
    ends = np.cumsum(np.bincount(codes, minlength=len(found)))
    for shape, rows in zip(found.tolist(), np.split(order, ends[:-1]), strict=False):
        first = np.append(True, posts[rows[1:]] != posts[rows[:-1]])  # of a post's rows: straight before mirrored
        last = np.append(first[1:], True)
        yield divmod(shape, LONGEST), (rows[first], rows[last])


def _sorted(posts: np.ndarray, flipped: np.ndarray) -> bool:
    later, same = posts[1:] > posts[:-1], posts[1:] == posts[:-1]
    return bool((later | (same & (flipped[1:] >= flipped[:-1]))).all())
