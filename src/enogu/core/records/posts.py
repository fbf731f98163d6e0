"""The posts record: one row per post in one normal form, whatever the source.

A posts folder holds `posts.parquet` (all that the source gave), `manifest.parquet` (what was selected;
the same columns and `sha256`), and `posts.json` (`root` of the images, the query, the funnel).
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from enogu.core.records.errors import Refused
from enogu.core.records.files import read_json

CATEGORIES = ("general", "artist", "copyright", "character", "species", "meta")
RATINGS = ("general", "sensitive", "questionable", "explicit", "unknown")

SCHEMA: dict[str, pl.DataType] = {
    "id": pl.Int64(),
    "source": pl.String(),  # "danbooru", "e621", ...: the site the id belongs to
    "md5": pl.String(),
    "pixel_hash": pl.String(),  # of the decoded pixels, where the site gives one
    "rating": pl.String(),  # one of RATINGS
    "rating_raw": pl.String(),  # the source's own letter or number
    "created_at": pl.Datetime("us", "UTC"),
    "score": pl.Int64(),
    "up_score": pl.Int64(),
    "down_score": pl.Int64(),  # votes against, counted upwards
    "fav_count": pl.Int64(),
    "aesthetic": pl.Float64(),
    "width": pl.Int32(),
    "height": pl.Int32(),
    "file_ext": pl.String(),
    "file_size": pl.Int64(),
    "image": pl.String(),  # path below the root; it may go on inside a tar, as in images/0514.tar/114514.webp
    "source_url": pl.String(),  # where the picture was first published
    "parent_id": pl.Int64(),
    "pixiv_id": pl.Int64(),
    "is_deleted": pl.Boolean(),
    "is_banned": pl.Boolean(),
    "is_pending": pl.Boolean(),
    "is_flagged": pl.Boolean(),
    "caption": pl.String(),  # sentences that the source brings along
    **{f"tags_{category}": pl.List(pl.String()) for category in CATEGORIES},
}
MANIFEST_SCHEMA: dict[str, pl.DataType] = {**SCHEMA, "sha256": pl.String()}


@dataclass(frozen=True)
class Manifest:
    """The selected posts and the folder their images lie under."""

    frame: pl.DataFrame
    root: Path

    def image(self, row: int) -> Path:
        """Return the path of the image of a row."""
        return self.root / str(self.frame["image"][row])


def read_manifest(folder: Path) -> Manifest:
    """Read a posts folder's frozen manifest."""
    if not (folder / "manifest.parquet").exists():
        raise Refused(f"{folder} is no finished posts stage: it has no manifest.parquet")
    root = Path(read_json(folder / "posts.json")["root"])
    return Manifest(pl.read_parquet(folder / "manifest.parquet"), root if root.is_absolute() else folder / root)
