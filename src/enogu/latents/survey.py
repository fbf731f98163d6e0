"""What a table of buckets would do to pictures of known sizes, before anything is encoded."""

import numpy as np

from enogu.latents.buckets import Buckets


def survey(buckets: Buckets, widths: np.ndarray, heights: np.ndarray) -> dict[str, float]:
    """Return shapes in use, mean megapixels and share of pixels kept, and the shares cropped, enlarged and left out."""
    chosen = buckets.assign(widths, heights)
    fits = chosen[:, 0] > 0
    if not fits.any():
        return {"shapes": 0, "megapixels": 0.0, "kept": 0.0, "cropped": 0.0, "enlarged": 0.0, "left_out": 1.0}
    sides, shapes = np.stack([widths[fits], heights[fits]], axis=1).astype(np.float64), chosen[fits].astype(np.float64)
    scale = (shapes / sides).max(axis=1)
    kept = np.minimum(shapes.prod(axis=1) / (sides.prod(axis=1) * scale**2), 1.0).round(9)
    return {
        "shapes": len(np.unique(chosen[fits], axis=0)),
        "megapixels": float(shapes.prod(axis=1).mean() / 1e6),
        "kept": float(kept.mean()),
        "cropped": float((kept < 1).mean()),
        "enlarged": float((scale > 1).mean()),
        "left_out": float(1 - fits.mean()),
    }
