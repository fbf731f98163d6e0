"""The drawn booru on disk: `images/`, `posts.jsonl`, `danbooru.db` and `truth.parquet`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import MappingProxyType

import cv2

from enogu.core.records.files import atomic_path
from enogu.core.records.progress import Progress, silent
from enogu.mini.config import BooruConfig
from enogu.mini.drawing import draw
from enogu.mini.dumps import Stored, write_json_lines, write_sqlite, write_truth
from enogu.mini.post import Post, compose

ENCODERS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "jpg": (cv2.IMWRITE_JPEG_QUALITY, 94),
        "png": (cv2.IMWRITE_PNG_COMPRESSION, 6),
        "webp": (cv2.IMWRITE_WEBP_QUALITY, 94),
    }
)


def write_booru(config: BooruConfig, out: Path, *, progress: Progress = silent, threads: int = 0) -> list[Stored]:
    """Draw and write a booru; images that an interrupted run left are kept, since the same seed draws the same."""
    posts = compose(config)
    stored = []
    with ThreadPoolExecutor(threads or None) as pool:
        try:
            for one in pool.map(partial(_store, out), posts):
                stored.append(one)
                progress(len(stored), len(posts), "pictures drawn")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    write_json_lines(out / "posts.jsonl", stored)
    write_truth(out / "truth.parquet", stored)
    write_sqlite(out / "danbooru.db", stored)
    return stored


def _store(out: Path, post: Post) -> Stored:
    path = out / post.image
    if not path.exists():
        with atomic_path(path) as part:
            part.write_bytes(_encoded(post))
    content = path.read_bytes()
    return Stored(post=post, md5=hashlib.md5(content, usedforsecurity=False).hexdigest(), file_size=len(content))


def _encoded(post: Post) -> bytes:
    picture = draw(post.traits, post.width, post.height, seed=post.draw_seed)
    good, packed = cv2.imencode(f".{post.ext}", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), ENCODERS[post.ext])
    assert good, post.image
    return packed.tobytes()
