"""The stage: a frozen manifest, counted losses, clear refusals, and reruns that end the same."""

import json
import os

import polars as pl
import pytest

from enogu.core.records.errors import Refused
from enogu.core.records.hashes import sha256_file
from enogu.core.records.job import Job
from enogu.core.records.posts import MANIFEST_SCHEMA, RATINGS, read_manifest
from enogu.posts.config import PostsConfig
from enogu.posts.stage import run

from .conftest import draw, post, write_json_lines


def skipped(folder):
    return [json.loads(line) for line in (folder / "skipped.jsonl").read_text("utf-8").splitlines()]


def test_the_manifest_is_frozen_with_hashes_query_and_funnel(booru, freeze):
    folder, summary = freeze(booru, score_min=0)
    manifest = read_manifest(folder)
    assert dict(manifest.frame.schema) == MANIFEST_SCHEMA
    for row in range(len(manifest.frame)):
        assert manifest.frame["sha256"][row] == sha256_file(manifest.image(row))
    kept = json.loads((folder / "posts.json").read_text("utf-8"))
    assert kept["query"]["where"]["score_min"] == 0
    assert kept["funnel"] == summary["funnel"]
    assert summary["funnel"][0] == {"step": "read", "left": 20}
    assert summary["funnel"][-1] == {"step": "image", "left": summary["posts"]}
    assert summary["posts"] == len(manifest.frame) < 20
    assert len(pl.read_parquet(folder / "posts.parquet")) == 20


def test_unfit_images_are_listed_and_the_rest_goes_on(booru, freeze):
    (booru / "3.png").unlink()
    (booru / "4.png").write_bytes(b"")
    draw(booru / "5.png", 1, 1)
    folder, summary = freeze(booru)
    assert summary["posts"] == 17
    assert summary["skipped"] == {"missing": 1, "empty": 1, "too small": 1}
    assert skipped(folder) == [
        {"at": "3.png", "reason": "missing", "post": 3},
        {"at": "4.png", "reason": "empty", "post": 4},
        {"at": "5.png", "reason": "too small", "post": 5},
    ]


def test_by_default_only_general_posts_that_still_stand(tmp_path, freeze):
    changes = [{}, {"rating": "s"}, {"rating": "e"}, {"rating": "?"}, {"is_deleted": True}, {"is_banned": True}]
    posts = [post(number, **change) for number, change in enumerate(changes, 1)]
    source = write_json_lines(tmp_path / "b", posts)
    for one in posts:
        draw(tmp_path / "b" / f"{one['id']}.png")
    folder, summary = freeze(source)
    assert read_manifest(folder).frame["id"].to_list() == [1]
    steps = {row["step"]: row["left"] for row in summary["funnel"]}
    assert (steps["not deleted"], steps["not banned"], steps["rating"]) == (5, 4, 1)
    _, wide = freeze(source, out="wide", rating=RATINGS, deleted=True, banned=True)
    assert wide["posts"] == 6


def test_blocked_posts_are_written_nowhere_whatever_the_query(tmp_path, freeze):
    posts = [post(1), post(2, tag_string_general="loli"), post(3, tag_string_general="child", rating="q")]
    source = write_json_lines(tmp_path / "b", posts)
    for one in posts:
        draw(tmp_path / "b" / f"{one['id']}.png")
    folder, summary = freeze(source, rating=RATINGS, deleted=True, banned=True)
    assert summary["funnel"][:2] == [{"step": "read", "left": 3}, {"step": "not on the blocklist", "left": 1}]
    assert pl.read_parquet(folder / "posts.parquet")["id"].to_list() == [1]
    assert read_manifest(folder).frame["id"].to_list() == [1]
    assert skipped(folder) == []


def test_an_empty_selection_is_refused_with_the_funnel(booru, freeze):
    with pytest.raises(Refused, match=r"(?s)20  rating.*0  score_min.*widen posts\.where"):
        freeze(booru, score_min=1000)


def test_where_ratings_leave_none_the_refusal_says_what_there_is(tmp_path, freeze):
    source = tmp_path / "pictures"
    for number in (1, 2):
        draw(source / f"{number}.png", seed=number)
        (source / f"{number}.txt").write_text("1girl, smile")
    remedy = r'in: 2 unknown; name .* where = \{ rating = \["general", "unknown"\] \}'
    with pytest.raises(Refused, match=remedy):
        freeze(source)
    assert freeze(source, rating=("general", "unknown"))[1]["posts"] == 2


def test_images_that_were_put_there_since_a_refusal_are_found(booru, tmp_path, freeze):
    (tmp_path / "images").mkdir()
    with pytest.raises(Refused, match="every image is unfit"):
        freeze(booru, config={"images": str(tmp_path / "images")})
    for picture in booru.glob("*.png"):
        picture.rename(tmp_path / "images" / picture.name)
    assert freeze(booru, config={"images": str(tmp_path / "images")})[1]["posts"] == 20


def test_images_looked_for_in_the_wrong_place_are_refused_with_the_remedy(booru, tmp_path, freeze):
    with pytest.raises(Refused, match=r"1\.png \(missing\): check posts\.images"):
        freeze(booru, config={"images": str(tmp_path)})


def test_a_rerun_over_what_a_killed_run_left_ends_the_same(booru, freeze):
    folder, _ = freeze(booru)
    whole = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    (folder / "posts.parquet").unlink()
    (folder / "manifest.parquet").unlink()
    (folder / "import" / "done.json").unlink()
    (folder / "import" / "00000000.parquet").write_bytes(b"half a batch")
    (folder / ".manifest.parquet.0badcafe.part").write_bytes(b"half")
    freeze(booru)
    again = {path.name: path.read_bytes() for path in folder.iterdir() if path.name in whole}
    assert again == whole


def test_a_drawn_booru_is_kept_by_a_relative_root(booru, tmp_path):
    out = tmp_path / "work" / "posts-x"
    run(PostsConfig(booru="drawn"), Job(out=out, inputs={"booru": {"drawn": booru}}))
    root = json.loads((out / "posts.json").read_text("utf-8"))["root"]
    assert not os.path.isabs(root)
    assert read_manifest(out).image(0).samefile(booru / "1.png")


def test_a_stage_has_one_source():
    for sources in ({}, {"source": "a", "booru": "b"}):
        with pytest.raises(Refused, match="exactly one"):
            PostsConfig(**sources)
    with pytest.raises(Refused, match="did you mean 'md5'"):
        PostsConfig(source="a", file="{md}.png")
