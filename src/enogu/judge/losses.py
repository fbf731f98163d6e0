"""Loss by timestep: each model's error in the noise, on the same held-out latents under the same noise.

Ten equal bins of t, one t per bin and picture. Errors are compared as errors in eps whatever a model predicts:
a squared error in v is one in eps over abar (see core/diffusion/objective.py), so both kinds meet on one scale.
"""

from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from enogu.core.diffusion.noise import noise_batch
from enogu.core.diffusion.objective import noised, target
from enogu.core.diffusion.schedule import NUM_TIMESTEPS, alphas_cumprod
from enogu.core.networks.chunks import chunk_tokens
from enogu.core.networks.model import StableDiffusion
from enogu.core.networks.tokenizer import tokenize
from enogu.core.records.seed import derive, generator
from enogu.core.records.shards import Shards
from enogu.judge.intervals import Cells

BINS = 10
BATCH = 16
EDGES = tuple(int(edge) for edge in np.linspace(0, NUM_TIMESTEPS, BINS + 1))


def held_out_rows(shards: Shards, count: int, seed: int) -> list[NDArray[np.int64]]:
    """Return batches of index rows, one bucket each: at most `count` seeded posts, none of them mirrored."""
    index = (
        shards.index.with_row_index("row").filter(~pl.col("flipped")).unique("post", keep="first", maintain_order=True)
    )
    chosen = generator(seed, "judge.latents").permutation(len(index))[:count]
    frame = index[np.sort(chosen)]
    buckets = frame.group_by("width", "height", maintain_order=True).agg("row")["row"].to_list()
    return [np.array(rows[i : i + BATCH], np.int64) for rows in buckets for i in range(0, len(rows), BATCH)]


@torch.inference_mode()
def bin_losses(
    model: StableDiffusion,
    shards: Shards,
    batches: list[NDArray[np.int64]],
    *,
    caption: Callable[[int], str],
    seed: int,
) -> Iterator[Cells]:
    """Yield (images, bins) mean squared errors in eps, batch by batch."""
    for rows in batches:
        posts = shards.index["post"].gather(rows).to_list()
        moments = torch.from_numpy(shards.read(rows)).to(model.device, torch.float32)
        x0 = moments.chunk(2, dim=1)[0] * model.family.latent_scale
        context = _contexts(model, [caption(post) for post in posts])
        keys = [[derive(seed, "judge.noise", post, place) for post in posts] for place in range(BINS)]
        yield np.stack([_errors(model, x0, context, keys=keys[i], place=i) for i in range(BINS)], axis=1)


def _errors(model: StableDiffusion, x0: Tensor, context: Tensor, *, keys: list[int], place: int) -> NDArray[np.float64]:
    family, start, end = model.family, EDGES[place], EDGES[place + 1]
    t = torch.tensor([start + key % (end - start) for key in keys])
    abar = alphas_cumprod(family.schedule)[t].to(x0)
    noise = noise_batch(keys, tuple(x0.shape[1:])).to(x0)
    wanted = target(family.prediction, x0, noise, abar=abar)
    got = model.unet(noised(x0, noise, abar), t.to(x0), context)
    errors = (got - wanted).square().flatten(1).mean(dim=1)
    in_eps = errors * abar if family.prediction == "v" else errors
    return np.asarray(in_eps.double().cpu())


def _contexts(model: StableDiffusion, texts: list[str]) -> Tensor:
    ids = [tokenize(text) for text in texts]
    chunks = max(len(chunk_tokens(one)) for one in ids)
    table = np.stack([chunk_tokens(one, chunks=chunks) for one in ids])
    return model.encode_text(torch.from_numpy(table).to(model.device))
