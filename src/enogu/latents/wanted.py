"""What is to be encoded: each post's picture, its expected bucket and the keys of its records."""

import hashlib

import numpy as np
import polars as pl

from enogu.latents.buckets import Buckets

BUCKET = ("bucket_height", "bucket_width")
UNIT_BATCHES = 4  # what one process takes at a time; small enough that all end together


def content_key(sha256: str, recipe: str, shape: tuple[int, int], *, flipped: bool) -> str:
    """Return 16 hex digits that name a record's content."""
    text = f"{sha256} {recipe} {shape[0]}x{shape[1]} {'flipped' if flipped else 'straight'}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def wanted(manifest: pl.DataFrame, stored: pl.DataFrame, *, buckets: Buckets, recipe: str, flip: bool) -> pl.DataFrame:
    """Return one row per post: image, sha256, expected bucket, key, and the mirror image's key or null.

    Sizes in metadata may be wrong: the keys come from the true size where it has been met, but the order comes
    from the metadata alone, so that a run that goes on makes the batches of the run that was killed.
    """
    posts = manifest.select(pl.col("id").alias("post"), "image", "sha256", "width", "height")
    posts = posts.unique("post", keep="first", maintain_order=True)
    posts = posts.with_columns(pl.col("sha256").fill_null(pl.format("post {}", "post")))
    met = stored.select("post", "original_width", "original_height").unique("post", keep="last", maintain_order=True)
    true = pl.max("original_width", "original_height").over("sha256")  # one picture may have several posts
    sizes = posts.join(met, on="post", how="left", maintain_order="left").with_columns(true)
    expected = _assign(buckets, sizes.select("width", "height"))
    actual = _assign(buckets, sizes.select("original_width", "original_height"))
    differs = sizes["original_width"].is_not_null().to_numpy() & (actual != expected).any(axis=1)
    if differs.any():  # believed where there is a record of this very picture in that bucket
        keys = _keys("key", posts["sha256"].filter(differs), actual[differs], recipe=recipe, flipped=False)
        differs[differs] = keys.is_in(stored["key"].implode()).to_numpy()
    shapes = np.where(differs[:, None], actual, expected)
    return posts.select(
        "post",
        "image",
        "sha256",
        pl.Series("bucket_width", expected[:, 0]),
        pl.Series("bucket_height", expected[:, 1]),
        _keys("key", posts["sha256"], shapes, recipe=recipe, flipped=False),
        _keys("mirror_key", posts["sha256"], shapes, recipe=recipe, flipped=True)
        if flip
        else pl.lit(None, pl.String).alias("mirror_key"),
    ).sort(*BUCKET, "post")


def unfinished(pictures: pl.DataFrame, *, finished: pl.Series, batch: int) -> pl.DataFrame:
    """Return the pictures that no earlier run has encoded, each with the numbers of its batch and its unit of work.

    This division depends on nothing that happens while the work goes on: so everyone at work cuts the same batches,
    and after a kill every batch keeps its members, and its records their last bit.
    """
    left = pictures.filter(pl.col("sha256").is_first_distinct() & ~_all_in(finished))
    left = left.with_columns(batch=pl.int_range(pl.len()).over(BUCKET) // batch)
    left = left.with_columns(batch=pl.struct(*BUCKET, "batch").rle_id())
    return left.with_columns(unit=pl.col("batch") // UNIT_BATCHES)


def pending(division: pl.DataFrame, *, stored: pl.Series, skipped: pl.Series) -> pl.DataFrame:
    """Return what of a division has neither its records yet nor a reason for having none; keys that are stored go."""
    left = division.filter(~_all_in(stored) & ~pl.col("sha256").is_in(skipped.implode()))
    known = stored.implode()
    return left.with_columns(pl.when(~pl.col(name).is_in(known)).then(name) for name in ("key", "mirror_key"))


def rows_of(pictures: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """Return the index: the record of each post and of its mirror image, where there is one."""
    sides = [
        pictures.select("post", pl.lit(flipped).alias("flipped"), pl.col(name).alias("key")).drop_nulls("key")
        for name, flipped in (("key", False), ("mirror_key", True))
    ]
    return pl.concat(sides).join(stored.drop("post", "flipped").unique("key", keep="last"), on="key")


def _assign(buckets: Buckets, sizes: pl.DataFrame) -> np.ndarray:
    sides = sizes.fill_null(0).to_numpy()
    return buckets.assign(sides[:, 0], sides[:, 1])


def _keys(name: str, sha256: pl.Series, shapes: np.ndarray, *, recipe: str, flipped: bool) -> pl.Series:
    pairs = zip(sha256, shapes.tolist(), strict=True)
    return pl.Series(name, [content_key(of, recipe, (w, h), flipped=flipped) for of, (w, h) in pairs], pl.String)


def _all_in(keys: pl.Series) -> pl.Expr:
    known = keys.implode()
    return pl.col("key").is_in(known) & (pl.col("mirror_key").is_null() | pl.col("mirror_key").is_in(known))
