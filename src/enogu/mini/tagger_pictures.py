"""Pictures for the mini tagger: drawn, worn as models wear them, and prepared as taggers take them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import cast

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from enogu.core.records.seed import derive, generator
from enogu.mini.drawing import draw
from enogu.mini.pen import Canvas
from enogu.mini.population import sample_traits
from enogu.mini.tagger_labels import target

NOVEL = 0.12  # of the pictures show each novel concept: the tagger knows them all
LONG_SIDE = (64, 224)  # of a drawing, in pixels
SMALL_AREA = (56, 96)  # roots of the areas at which miniature models draw
JITTER = 3  # pixels of shift


def held_out(seed: int, index: int) -> tuple[Canvas, NDArray[np.float32]]:
    """A clean drawing and its labels, as the booru has them."""
    rng = generator(seed, "tagger.picture", index)
    traits = sample_traits(derive(seed, "tagger.traits"), index, novel=NOVEL)
    long = int(rng.integers(*LONG_SIDE))
    lean = rng.uniform(-0.45, 0.45)
    short = round(long * math.exp(-abs(lean)))
    width, height = (long, short) if lean > 0 else (short, long)
    return draw(traits, width, height, seed=derive(seed, "tagger.draw", index)), target(traits)


def training_set(seed: int, count: int, side: int, *, threads: int) -> Iterator[tuple[Canvas, NDArray[np.float32]]]:
    """Yield prepared pictures [side, side, 3] BGR and their labels, in order."""
    with ThreadPoolExecutor(threads or None) as pool:
        for start in range(0, count, 256):
            yield from pool.map(partial(_training_picture, seed, side), range(start, min(count, start + 256)))


def prepared(picture: Canvas, side: int) -> Canvas:
    """Pad RGB to a white square, resize bicubically, turn to BGR: what readers of WD taggers do."""
    height, width = picture.shape[:2]
    edge = max(height, width)
    square = np.full((edge, edge, 3), 255, np.uint8)
    top, left = (edge - height) // 2, (edge - width) // 2
    square[top : top + height, left : left + width] = picture
    return np.asarray(Image.fromarray(square).resize((side, side), Image.Resampling.BICUBIC))[:, :, ::-1]


def augmented(batch: Tensor, rng: torch.Generator) -> Tensor:
    """Shift, blur, noise and recolour uint8 pictures [N, side, side, 3]; the result is float32."""
    side = batch.shape[1]
    dx, dy = torch.randint(0, 2 * JITTER + 1, (2,), generator=rng).tolist()
    x = F.pad(batch, (0, 0, JITTER, JITTER, JITTER, JITTER), value=255)[:, dy : dy + side, dx : dx + side].float()
    gain = 1 + 0.06 * torch.randn(len(x), 1, 1, 3, generator=rng)
    x = (x - 128) * gain + 128 + 6 * torch.randn(len(x), 1, 1, 3, generator=rng)
    soft = F.avg_pool2d(x.permute(0, 3, 1, 2), 3, 1, 1, count_include_pad=False).permute(0, 2, 3, 1)
    share = torch.rand(len(x), 1, 1, 1, generator=rng) ** 2 * 1.2
    grain = 10 * torch.rand(len(x), 1, 1, 1, generator=rng) ** 3 * torch.randn(x.shape, generator=rng)
    return (torch.lerp(x, soft, share) + grain).clamp(0, 255)


def _training_picture(seed: int, side: int, index: int) -> tuple[Canvas, NDArray[np.float32]]:
    picture, tags = held_out(seed, index)
    rng = generator(seed, "tagger.wear", index)
    if rng.random() < 0.6:
        picture = _as_small_models_draw(picture, rng)
    return prepared(picture, side), tags


def _as_small_models_draw(picture: Canvas, rng: Generator) -> Canvas:
    """Few pixels, blocks and blur: what an autoencoder that shrinks 8 times leaves."""
    height, width = picture.shape[:2]
    scale = rng.uniform(*SMALL_AREA) / math.sqrt(height * width)
    sides = (max(16, round(width * scale)), max(16, round(height * scale)))
    small = cv2.resize(picture, sides, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    small = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.05, 0.9))
    if rng.random() < 0.5:
        _, packed = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))])
        return cast(Canvas, cv2.imdecode(packed, cv2.IMREAD_COLOR))
    return cast(Canvas, small)
