"""What bucketing did to the pictures: how many in each bucket, how much of them was kept, how many were enlarged."""

import polars as pl


def bucket_table(index: pl.DataFrame) -> pl.DataFrame:
    """Return one row per bucket, the fullest first: width, height, pictures, kept, enlarged."""
    return (
        _pictures(index)
        .group_by("width", "height")
        .agg(pl.len().alias("pictures"), pl.col("kept").mean().round(4), pl.col("enlarged").sum())
        .sort("pictures", "width", "height", descending=[True, False, False])
    )


def pixel_figures(index: pl.DataFrame) -> dict[str, float]:
    """Return the mean share of a picture that was kept, its mean megapixels, and how many were cropped or enlarged."""
    pictures = _pictures(index)
    return {
        "kept": round(float(pictures["kept"].to_numpy().mean()), 4),
        "megapixels": round(float((pictures["width"] * pictures["height"]).to_numpy().mean()) / 1e6, 6),
        "cropped": int((pictures["kept"] < 1).sum()),
        "enlarged": int(pictures["enlarged"].sum()),
        "bytes": int(index["nbytes"].sum()),
    }


def _pictures(index: pl.DataFrame) -> pl.DataFrame:
    """Return one row per picture with `kept` and `enlarged` (see buckets.kept)."""
    scale = pl.max_horizontal(pl.col("width") / pl.col("original_width"), pl.col("height") / pl.col("original_height"))
    covered = pl.col("original_width").cast(pl.Float64) * pl.col("original_height") * scale**2
    kept = (pl.col("width").cast(pl.Float64) * pl.col("height") / covered).clip(upper_bound=1.0)
    return index.filter(~pl.col("flipped")).with_columns(kept=kept.round(9), enlarged=scale > 1)
