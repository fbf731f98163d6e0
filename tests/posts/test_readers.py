"""Sources in their own words end in one normal form; what cannot be read is counted, and the rest goes on."""

import json
import sqlite3
from datetime import UTC, datetime

import polars as pl
import pytest

from enogu.core.records.errors import Refused
from enogu.core.records.posts import SCHEMA
from enogu.core.records.progress import silent
from enogu.posts import danbooru_sqlite, packed
from enogu.posts.batch import Asked
from enogu.posts.config import PostsConfig
from enogu.posts.importing import import_posts
from enogu.posts.sources import SOURCES, find

from .conftest import draw, post, write_json_lines, write_sqlite


def read(source, tmp_path, **config):
    path, kind = find(source, config.get("format", "auto"))
    target = tmp_path / "read" / "posts.parquet"
    tally = import_posts(path, kind, target, config=PostsConfig(source=str(source), **config), progress=silent)
    return pl.read_parquet(target), tally


def skips(tally):
    """What was skipped, and why."""
    return {row["at"]: row["reason"] for row in map(json.loads, tally.skipped.read_text("utf-8").splitlines())}


def test_both_shapes_of_danbooru_give_the_same_posts(tmp_path):
    posts = [
        post(
            1, rating="s", tag_string_character="hero", tag_string_meta="", created_at="2015-01-01T00:30:00.000-04:00"
        ),
        post(2, rating="e", is_deleted=True, score=-9),
        post(7, rating="q", is_banned=True, tag_string_general="", tag_string_artist="a b"),
    ]
    from_json, _ = read(write_json_lines(tmp_path / "a", posts), tmp_path)
    from_sqlite, _ = read(write_sqlite(tmp_path / "a", posts), tmp_path)
    assert from_json.drop("rating_raw").equals(from_sqlite.drop("rating_raw"))
    assert dict(from_json.schema) == SCHEMA
    first = from_json.row(0, named=True)
    assert first["rating"] == "sensitive"
    assert first["created_at"] == datetime(2015, 1, 1, 4, 30, tzinfo=UTC)
    assert first["image"] == "1.png"
    assert first["tags_character"] == ["hero"]
    assert first["tags_meta"] == []
    assert from_json["tags_artist"].to_list()[2] == ["a", "b"]


def test_a_database_larger_than_one_batch_is_read_whole_and_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(danbooru_sqlite, "POSTS", 3)
    posts = [post(number, tag_string_general=f"tag_{number}") for number in range(5, 25, 2)]
    frame, _ = read(write_sqlite(tmp_path, posts), tmp_path)
    assert frame["id"].to_list() == [one["id"] for one in posts]
    assert frame["tags_general"].to_list() == [[f"tag_{one['id']}"] for one in posts]


def test_broken_lines_are_named_and_the_rest_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "BLOCK", 700)
    source = tmp_path / "posts.jsonl"
    lines = [
        json.dumps(post(1)).encode(),
        b'{"id": 2, "rating": "g", "tag_str',
        b"[1, 2]",
        b'{"md5": "no id"}',
        b'{"id": true}',
        b"",
        b'{"id": 3, "tag_string_general": "\xff\xfe"}',
        json.dumps(post(8, score="many", image_width=None, is_deleted=None)).encode(),
    ]
    source.write_bytes(b"\n".join(lines))
    frame, tally = read(source, tmp_path)
    assert frame["id"].to_list() == [1, 8]
    assert skips(tally) == {
        "line 2": "not JSON",
        "line 3": "not an object",
        "line 4": "no id",
        "line 5": "no id",
        "line 6": "empty line",
        "line 7": "not UTF-8",
    }
    assert frame.row(1, named=True)["score"] is None
    assert frame.row(1, named=True)["is_deleted"] is False


def test_a_withheld_post_gets_no_image_path(tmp_path):
    hidden = {key: value for key, value in post(1).items() if key != "md5"}
    frame, _ = read(write_json_lines(tmp_path, [hidden, post(2)]), tmp_path, file="x/{md5}_{id}.{file_ext}")
    assert frame["image"].to_list() == [None, f"x/{2:032x}_2.png"]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("", ["general", "sensitive", "questionable", "explicit", "unknown", "unknown"]),
        ("danbooru-before-2022", ["unknown", "unknown", "questionable", "explicit", "unknown", "unknown"]),
        ("e621", ["unknown", "general", "questionable", "explicit", "unknown", "unknown"]),
    ],
)
def test_the_letter_s_means_three_things(tmp_path, table, expected):
    posts = [post(number, rating=letter) for number, letter in enumerate(["g", "s", "q", "e", "x", None])]
    frame, _ = read(write_json_lines(tmp_path, posts), tmp_path, ratings=table)
    assert frame["rating"].to_list() == expected
    assert frame["rating_raw"].to_list() == ["g", "s", "q", "e", "x", None]


@pytest.mark.parametrize(
    ("written", "hour"),
    [
        ("2020-05-04T10:00:00.000+02:00", 8),
        ("2020-05-04T10:00:00Z", 10),
        ("2020-05-04 10:00:00", 10),
        ("2020-05-04 10:00:00.123456", 10),
        ("2020-05-04", 0),
    ],
)
def test_times_are_read_in_their_spellings(tmp_path, written, hour):
    frame, _ = read(write_json_lines(tmp_path, [post(1, created_at=written)]), tmp_path)
    stamp = frame["created_at"][0]
    assert (stamp.year, stamp.month, stamp.day, stamp.hour) == (2020, 5, 4, hour)


def test_a_folder_of_pictures_and_text_files(tmp_path):
    for name in ("12.png", "b/miku.png", "lonely.png", "latin.png"):
        draw(tmp_path / "pics" / name)
    (tmp_path / "pics/12.txt").write_text("1girl, blue hair, artist:some one, rating:g, rating:general", "utf-8")
    (tmp_path / "pics/b/miku.txt").write_text("hatsune miku \\(vocaloid\\)\nre:zero", "utf-8")
    (tmp_path / "pics/latin.txt").write_bytes(b"\xe9t\xe9")
    frame, tally = read(tmp_path / "pics", tmp_path)
    first, second = sorted(frame.to_dicts(), key=lambda row: row["image"])
    assert (first["id"], first["rating"], first["image"]) == (12, "general", "12.png")
    assert (first["tags_general"], first["tags_artist"]) == (["1girl", "blue_hair"], ["some_one"])
    assert (second["rating"], second["image"]) == ("unknown", "b/miku.png")
    assert second["tags_general"] == ["hatsune_miku_(vocaloid)", "re:zero"]
    assert second["id"] > 0
    assert skips(tally) == {
        "lonely.png": "no .txt or .json beside it",
        "latin.png": ".txt is not UTF-8",
    }


def test_tags_are_composed_unicode(tmp_path):
    frame, _ = read(write_json_lines(tmp_path, [post(1, tag_string_artist="gru\u0308n")]), tmp_path)
    assert frame["tags_artist"].to_list() == [["gr\u00fcn"]]


def test_what_cannot_be_a_source_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "fake.db").write_bytes(b"not a database at all, but long enough to be looked at" * 20)
    with pytest.raises(Refused, match="there is no"):
        find(tmp_path / "nowhere", "auto")
    with pytest.raises(Refused, match="did you mean 'danbooru-json'"):
        find(tmp_path, "danboru-json")
    with pytest.raises(Refused, match=r"notes\.txt does not look like"):
        find(tmp_path / "notes.txt", "auto")
    with pytest.raises(Refused, match=r"fake\.db cannot be read as SQLite"):
        list(SOURCES["danbooru-sqlite"].read(tmp_path / "fake.db", Asked(scratch=tmp_path)))


def test_a_database_without_the_tables_is_refused_by_name(tmp_path):
    path = write_sqlite(tmp_path, [post(1)])
    with sqlite3.connect(path) as base:
        base.execute("drop table posttagrelation")
    with pytest.raises(Refused, match="no table posttagrelation"):
        list(danbooru_sqlite.read(path, Asked(scratch=tmp_path)))
