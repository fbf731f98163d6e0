"""A small booru in the shapes of real dumps, written from one list of posts."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from enogu.core.records.job import Job
from enogu.posts.config import PostsConfig, Where
from enogu.posts.stage import run

TYPES = ("general", "artist", "character", "copyright", "meta")
RATINGS = "gsqe"


def post(number, **changes):
    """A danbooru API post with a picture of its own."""
    return {
        "id": number,
        "created_at": f"{2010 + number % 10}-06-01T12:00:00.000+00:00",
        "score": number * 3 % 50 - 5,
        "fav_count": number * 7 % 40,
        "rating": "g",
        "md5": f"{number:032x}",
        "file_ext": "png",
        "image_width": 40,
        "image_height": 30,
        "is_deleted": False,
        "is_banned": False,
        "tag_string_general": "1girl smile blue_hair",
        "tag_string_artist": f"artist_{number % 3}",
        "tag_string_character": "",
        "tag_string_copyright": "original",
        "tag_string_meta": "highres",
        **changes,
    }


def write_json_lines(folder: Path, posts) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "posts.jsonl").write_text("".join(json.dumps(one) + "\n" for one in posts), encoding="utf-8")
    return folder / "posts.jsonl"


def write_sqlite(folder: Path, posts) -> Path:
    """The tables of danbooru2023, with its own numbers for tag types and ratings."""
    base = sqlite3.connect(folder / "danbooru.db")
    base.executescript(
        "create table post (id integer primary key, created_at text, md5 text, image_width int, image_height int,"
        " file_ext text, rating int, score int, fav_count int, is_deleted int, is_banned int);"
        "create table tag (id integer primary key, name text unique, type int, popularity int);"
        "create table posttagrelation (id integer primary key, post_id int, tag_id int);"
    )
    tags = {}
    for one in posts:
        row = [one[name] for name in ("id", "created_at", "md5", "image_width", "image_height", "file_ext")]
        row += [RATINGS.index(one["rating"]), one["score"], one["fav_count"], one["is_deleted"], one["is_banned"]]
        base.execute("insert into post values (?,?,?,?,?,?,?,?,?,?,?)", row)
        for number, kind in enumerate(TYPES):
            for tag in one[f"tag_string_{kind}"].split():
                if tag not in tags:
                    tags[tag] = len(tags) + 1
                    base.execute("insert into tag values (?,?,?,0)", (tags[tag], tag, number))
                base.execute("insert into posttagrelation (post_id, tag_id) values (?,?)", (one["id"], tags[tag]))
    base.commit()
    base.close()
    return folder / "danbooru.db"


def draw(path: Path, width=40, height=30, seed=0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def booru(tmp_path):
    """A folder with 20 posts and their pictures, named by id as the posts stage expects when nothing is said."""
    posts = [post(number) for number in range(1, 21)]
    write_json_lines(tmp_path / "booru", posts)
    for one in posts:
        draw(tmp_path / "booru" / f"{one['id']}.png", seed=one["id"])
    return tmp_path / "booru"


@pytest.fixture
def freeze(tmp_path):
    """Run the posts stage on a source; the query as keywords."""

    def freeze(source, *, out="out", config=None, **where):
        folder = tmp_path / out
        settings = PostsConfig(source=str(source), where=Where(**where), **(config or {}))
        return folder, run(settings, Job(out=folder, threads=1))

    return freeze
