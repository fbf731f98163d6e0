"""A posts folder made by hand, and the captions stage run over it."""

import json
from datetime import UTC, datetime

import polars as pl
import pytest

from enogu.captions.config import CaptionsConfig
from enogu.captions.stage import run
from enogu.core.records.job import Job
from enogu.core.records.posts import CATEGORIES, MANIFEST_SCHEMA, SCHEMA


def post(number, **changes):
    return {
        "id": number,
        "source": "danbooru",
        "rating": "general",
        "created_at": datetime(2019, 5, 1, tzinfo=UTC),
        "score": number,
        "fav_count": number,
        "aesthetic": 5.0,
        "image": f"{number}.png",
        "is_deleted": False,
        "is_banned": False,
        "tags_general": ["1girl", "blue_hair", "cat_ears", "smile", "^_^"],
        "tags_artist": ["some_one"],
        "tags_character": ["hatsune_miku"],
        "tags_copyright": ["vocaloid"],
        "tags_meta": ["highres", "commentary_request"],
        **changes,
    }


@pytest.fixture
def posts_folder(tmp_path):
    """Write a posts folder; all posts are in the manifest unless `chosen` says which."""

    def write(posts, *, chosen=None):
        folder = tmp_path / "posts"
        folder.mkdir(exist_ok=True)
        empty = {f"tags_{kind}": [] for kind in CATEGORIES}
        frame = pl.DataFrame([{**empty, **one} for one in posts], schema=SCHEMA)
        frame.write_parquet(folder / "posts.parquet")
        kept = frame if chosen is None else frame.filter(pl.col("id").is_in(chosen))
        manifest = kept.with_columns(sha256=pl.lit("0" * 64)).select(*MANIFEST_SCHEMA)
        manifest.write_parquet(folder / "manifest.parquet")
        (folder / "posts.json").write_text(json.dumps({"root": "images"}))
        return folder

    return write


@pytest.fixture
def captioned(tmp_path, posts_folder):
    """Run the stage over posts; return its folder and its summary."""

    def captioned(posts, *, chosen=None, **config):
        out = tmp_path / "captions"
        job = Job(out=out, inputs={"posts": {"p": posts_folder(posts, chosen=chosen)}})
        return out, run(CaptionsConfig(posts="p", **config), job)

    return captioned
