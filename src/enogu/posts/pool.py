"""Pictures in whichever tar holds them: `file = "*.tar/{id}"` looks for a member of that name in every tar of a pool.

danbooru2023 keeps a post in original/data-0514.tar, recent/data-1514.tar or an update: no template can say which.
"""

from pathlib import Path, PurePosixPath

import polars as pl

from enogu.core.records.errors import Refused
from enogu.core.records.tars import listing

ANY = "*.tar/"


def members(root: Path) -> pl.DataFrame:
    """Return the path (`held`) of every member of the tars below a folder, and what a template calls it (`image`)."""
    tars = [tar for tar in sorted(root.rglob("*.tar")) if tar.is_file() and not tar.is_symlink()]
    if not tars:
        raise Refused(f"posts.images: there is no tar below {root}, where posts.file = {ANY}... looks for pictures")
    return pl.concat(_of(tar, tar.relative_to(root)) for tar in tars).unique("image", keep="last")


def placed(posts: pl.DataFrame, pool: pl.DataFrame) -> pl.DataFrame:
    """Return posts with the paths that the pool has for their pictures; what it lacks is called as before."""
    found = posts.join(pool, on="image", how="left", maintain_order="left")
    return found.with_columns(image=pl.coalesce("held", "image")).drop("held")


def _of(tar: Path, within: Path) -> pl.DataFrame:
    names = [member.name for member in listing(tar) if not member.fault]
    stems = [PurePosixPath(name).stem for name in names]
    frame = pl.DataFrame({"image": stems, "held": names}, schema={"image": pl.String, "held": pl.String})
    return frame.select(image=ANY + pl.col("image"), held=f"{within.as_posix()}/" + pl.col("held"))
