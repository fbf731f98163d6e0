"""The global batch plan: which records make up each batch of an epoch, the same for every rank and worker.

Each bucket is an endless stream: its pictures shuffled for epoch 0, then shuffled anew for epoch 1, and so on. The
stream is cut into batches, and an epoch takes the batches that end within it. So a bucket's remainder is carried
into the next epoch, every batch is full, and after any epoch every picture has been used equally often, or once less
while it waits in a remainder. A picture with a mirror image shows one side in one epoch, the other in the next.
A bucket of fewer pictures than a batch is served in few epochs, and then repeats them within one batch.
"""

import numpy as np
import polars as pl

from enogu.core.records.errors import Refused
from enogu.core.records.seed import generator


def plan(index: pl.DataFrame, *, batch: int, seed: int, epoch: int, world: int = 1) -> list[np.ndarray]:
    """Return the batches of an epoch, each an array of rows of the index; rank r of `world` takes batch[r::world]."""
    if batch % world:
        raise Refused(f"batch = {batch} cannot be shared by {world} ranks; make it a multiple of {world}")
    cut = []
    for bucket, pictures in _buckets(index):
        name = f"{bucket[0]}x{bucket[1]}"
        first, end = (epoch * len(pictures) // batch) * batch, ((epoch + 1) * len(pictures) // batch) * batch
        if end > first:
            stream = _stream(pictures, first, end, seed=seed, name=name)
            cut += list(stream.reshape(-1, batch))
    order = generator(seed, "batch order", epoch).permutation(len(cut))
    return [cut[number] for number in order]


def _stream(pictures: np.ndarray, first: int, end: int, *, seed: int, name: str) -> np.ndarray:
    """Return the rows at positions first to end of a bucket's endless stream."""
    count = len(pictures)
    epochs = range(first // count, (end - 1) // count + 1)
    side = generator(seed, "bucket sides", name).integers(2, size=count)
    rows = []
    for epoch in epochs:
        order = generator(seed, "bucket order", name, epoch).permutation(count)
        rows.append(pictures[order, (side[order] + epoch) % 2])
    return np.concatenate(rows)[first - epochs[0] * count :][: end - first]


def _buckets(index: pl.DataFrame) -> list[tuple[tuple[int, int], np.ndarray]]:
    """Return each bucket with its pictures: (n, 2) rows, straight and mirrored (or straight twice), by post."""
    rows = index.select("post", "width", "height", "flipped").with_row_index("row")
    sides = rows.group_by("width", "height", "post").agg(
        pl.col("row").sort_by("flipped").first().alias("straight"),
        pl.col("row").sort_by("flipped").last().alias("mirrored"),
    )
    return [
        ((int(width), int(height)), part.sort("post").select("straight", "mirrored").to_numpy().astype(np.int64))
        for (width, height), part in sorted(sides.group_by("width", "height"))
    ]
