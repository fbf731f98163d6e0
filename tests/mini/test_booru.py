"""The drawn booru on disk: readable as the dumps it imitates, true, and the same after an interruption."""

import hashlib
import json
import sqlite3
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest

from enogu.core.records.errors import Refused
from enogu.core.records.job import Job
from enogu.mini.config import BooruConfig
from enogu.mini.dumps import TAG_TYPES
from enogu.mini.stage import run_booru

CONFIG = BooruConfig(posts=40, seed=11, novel=0.2, long_side=(64, 112))
POST_COLUMNS = """
    id created_at uploader_id source md5 parent_id has_children is_deleted is_banned pixiv_id has_active_children
    bit_flags has_large has_visible_children image_width image_height file_size file_ext rating score up_score
    down_score fav_count file_url large_file_url preview_file_url updated_at
"""


@pytest.fixture(scope="module")
def booru(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("booru")
    run_booru(CONFIG, Job(out=out))
    return out


def content(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def lines(booru: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (booru / "posts.jsonl").read_text(encoding="utf-8").splitlines()]


def test_an_interrupted_run_ends_with_the_same_bytes(booru: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int, what: str) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_booru(CONFIG, Job(out=tmp_path, progress=interrupt))
    assert not (tmp_path / "posts.jsonl").exists()
    run_booru(CONFIG, Job(out=tmp_path, threads=1))
    assert content(tmp_path) == content(booru)


def test_the_database_has_the_documented_tables(booru: Path) -> None:
    base = sqlite3.connect(booru / "danbooru.db")
    columns = {table: [row[1] for row in base.execute(f"pragma table_info({table})")] for table in
               ("post", "tag", "posttagrelation", "localpost")}  # fmt: skip
    assert columns == {
        "post": POST_COLUMNS.split(),
        "tag": ["id", "name", "type", "popularity"],
        "posttagrelation": ["id", "post_id", "tag_id"],
        "localpost": ["id", "filepath", "latentpath", "post_id"],
    }
    types = dict(base.execute("select name, type from tag"))
    assert types["original"] == 3  # copyright; danbooru's own number for it
    assert types["drawn_by_sumi"] == 1
    assert types["white_background"] == 0
    assert {rating for (rating,) in base.execute("select distinct rating from post")} <= {0, 1, 2, 3}


def test_both_dumps_say_the_same(booru: Path) -> None:
    base = sqlite3.connect(booru / "danbooru.db")
    query = "select t.type, t.name from posttagrelation r join tag t on t.id = r.tag_id where r.post_id = ?"
    for post in lines(booru):
        found = set(base.execute(query, (post["id"],)))
        said = {(TAG_TYPES.index(kind), tag) for kind in TAG_TYPES for tag in str(post[f"tag_string_{kind}"]).split()}
        assert found == said
        rating, score, path = base.execute(
            "select rating, score, filepath from post join localpost on post_id = post.id where post.id = ?",
            (post["id"],),
        ).fetchone()
        assert ("gsqe"[rating], score, path) == (post["rating"], post["score"], post["file_name"])


def test_metadata_describe_the_files(booru: Path) -> None:
    for post in lines(booru):
        data = (booru / str(post["file_name"])).read_bytes()
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape[:2] == (post["image_height"], post["image_width"])
        assert hashlib.md5(data).hexdigest() == post["md5"]
        assert len(data) == post["file_size"]
    assert len({(post["image_width"], post["image_height"]) for post in lines(booru)}) > 30


def test_the_truth_has_every_attribute(booru: Path) -> None:
    truth = pl.read_parquet(booru / "truth.parquet")
    assert truth["id"].to_list() == list(range(1, CONFIG.posts + 1))
    for row, post in zip(truth.iter_rows(named=True), lines(booru), strict=True):
        assert str(post["tag_string_general"]).split() == row["tags"]
        assert str(post["created_at"]).startswith(str(row["year"]))
        assert {figure["hair_colour"] for figure in row["figures"]} <= set(row["tags"])
        assert post["tag_string_artist"] == row["artist"]


def test_posts_are_numbered_by_date_and_liked_for_quality(tmp_path: Path) -> None:
    run_booru(BooruConfig(posts=150, seed=2, long_side=(64, 64)), Job(out=tmp_path))
    posts = lines(tmp_path)
    dates = [str(post["created_at"]) for post in posts]
    assert dates == sorted(dates)
    quality = pl.read_parquet(tmp_path / "truth.parquet")["quality"].to_numpy()
    for field in ("score", "fav_count", "aesthetic"):
        assert np.corrcoef(quality, [post[field] for post in posts])[0, 1] > 0.6


@pytest.mark.parametrize(
    "fields", [{"posts": 0}, {"novel": 0.9}, {"long_side": (200, 100)}, {"long_side": (8, 9)}, {"stretch": 2.0}]
)
def test_settings_that_cannot_be_drawn_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(Refused):
        BooruConfig(**fields)  # type: ignore[arg-type]
