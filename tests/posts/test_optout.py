"""Opting out: from manifests, captions, shards and indexes of a whole work folder, whenever it is killed."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

from enogu.core.records.errors import Refused
from enogu.core.records.files import write_json
from enogu.core.records.job import Job
from enogu.core.records.posts import read_manifest
from enogu.posts.config import PostsConfig
from enogu.posts.opt_out import LIST, read_list
from enogu.posts.stage import run as run_posts
from enogu.recipe import withdrawal
from enogu.recipe.done import Done, outputs, read_done, write_done
from enogu.recipe.withdrawal import withdraw

RECORD = 64  # bytes of a latent


def sign(folder, id, hash, **inputs):
    done = {"kind": id.split(".")[0], "name": id.split(".")[1], "summary": {}, "seconds": 0.0, "started": ""}
    write_done(folder, Done(id=id, hash=hash, settings={}, inputs=inputs, outputs=outputs(folder), **done))


@pytest.fixture
def work(booru, tmp_path):
    """Posts, captions, latents (posts 4 and 5 share a record), a training and a merge; and posts nobody reads."""
    work = tmp_path / "work"
    for name, hash in (("new", "a1"), ("other", "a2")):
        folder = work / f"posts-{name}-{hash}"
        run_posts(PostsConfig(source=str(booru)), Job(out=folder, threads=1))
        sign(folder, f"posts.{name}", hash)
    ids = read_manifest(work / "posts-new-a1").frame["id"]
    captions = work / "captions-new-b1"
    captions.mkdir()
    pl.DataFrame({"post": ids, "set": "tags", "text": "what it shows"}).write_parquet(captions / "captions.parquet")
    sign(captions, "captions.new", "b1", posts={"new": "a1"})
    latents = work / "latents-new-c1"
    latents.mkdir()
    offsets = [RECORD * (int(post) - (post == 5)) for post in ids]
    index = pl.DataFrame({"post": ids, "shard": "shard.bin", "offset": offsets, "nbytes": [RECORD] * len(ids)})
    index.write_parquet(latents / "index.parquet")
    (latents / "shard.bin").write_bytes(np.repeat(np.arange(25, dtype=np.uint8) + 1, RECORD).tobytes())
    sign(latents, "latents.new", "c1", posts={"new": "a1"})
    for folder, inputs in (
        ("train-tuned-d1", {"latents": {"new": "c1"}}),
        ("merge-half-e1", {"models": {"tuned": "d1"}}),
    ):
        (work / folder).mkdir()
        (work / folder / "model.safetensors").write_bytes(b"learnt")
        kind, name, hash = folder.split("-")
        sign(work / folder, f"{kind}.{name}", hash, **inputs)
    row = {"id": "train.early", "hash": "f1", "inputs": {"latents": {"new": "c1"}}, "ended": "done"}
    (work / "ledger.jsonl").write_text(json.dumps(row) + "\n")
    return work


def records(work):
    return np.fromfile(work / "latents-new-c1" / "shard.bin", np.uint8).reshape(-1, RECORD)


def test_posts_leave_everything_and_checkpoints_are_told(work):
    before = records(work)
    told = withdraw(work, {("danbooru", 3), ("", 4), ("e621", 7)})
    for name in ("posts-new-a1", "posts-other-a2"):
        assert not {3, 4} & set(read_manifest(work / name).frame["id"])
        assert not {3, 4} & set(pl.read_parquet(work / name / "posts.parquet")["id"])
        assert 7 in read_manifest(work / name).frame["id"]
        seen = pl.read_parquet(work / name / "audit" / "*.parquet")["image"]
        assert not {"3.png", "4.png"} & set(seen)
    assert not {3, 4} & set(pl.read_parquet(work / "latents-new-c1" / "index.parquet")["post"])
    changed = (records(work) != before).any(axis=1)
    assert changed.nonzero()[0].tolist() == [3]  # the record that post 4 shares with post 5 stays
    assert not records(work)[3].any()
    assert not (work / "captions-new-b1").exists()
    assert set(told.learnt) == {"train-tuned-d1/model.safetensors", "merge-half-e1/model.safetensors"}
    assert told.gone == ("train.early (f1)",)
    for name, hash in (("posts-new", "a1"), ("latents-new", "c1"), ("train-tuned", "d1")):
        assert read_done(work / f"{name}-{hash}", hash)  # whole, so that nothing is computed again


def test_a_later_question_still_names_the_checkpoints(work):
    withdraw(work, {("", 3)})
    again = withdraw(work, {("danbooru", 3)})
    assert (again.removed, again.cleared) == ({}, ())
    assert len(again.learnt) == 2


def test_posts_stages_of_the_future_obey_the_list(work, booru):
    withdraw(work, {("danbooru", 3), ("", 9)})
    assert read_list(work / LIST) == {("danbooru", 3), ("", 9)}
    summary = run_posts(PostsConfig(source=str(booru)), Job(out=work / "posts-later-a3", threads=1))
    steps = {row["step"]: row["left"] for row in summary["funnel"]}
    assert steps["not opted out"] == 18
    assert not {3, 9} & set(read_manifest(work / "posts-later-a3").frame["id"])


@pytest.mark.parametrize("strike", range(6))
def test_a_withdrawal_killed_anywhere_is_finished_by_the_next(work, monkeypatch, strike):
    calls = iter(range(100))

    def breaking(function):
        def call(*args):
            if next(calls) == strike:
                raise KeyboardInterrupt
            return function(*args)

        return call

    for name in ("_without", "_zero", "_clear", "_forget"):
        monkeypatch.setattr(withdrawal, name, breaking(getattr(withdrawal, name)))
    with pytest.raises(KeyboardInterrupt):
        withdraw(work, {("", 3)})
    monkeypatch.undo()
    assert len(withdraw(work, {("", 3)}).learnt) == 2
    assert 3 not in set(read_manifest(work / "posts-new-a1").frame["id"])
    assert 3 not in set(pl.read_parquet(work / "latents-new-c1" / "index.parquet")["post"])
    assert not records(work)[3].any()
    assert not (work / "captions-new-b1").exists()
    assert read_done(work / "posts-new-a1", "a1")
    assert read_done(work / "latents-new-c1", "c1")


def test_a_list_from_the_recipe_is_read_and_must_be_there(booru, tmp_path, freeze):
    (tmp_path / "list.txt").write_text("# who asked\n3\ndanbooru 4  # by mail\ne621/5\n")
    folder, _ = freeze(booru, config={"opt_out": str(tmp_path / "list.txt")})
    assert {3, 4} & set(read_manifest(folder).frame["id"]) == set()
    assert 5 in read_manifest(folder).frame["id"]
    with pytest.raises(Refused, match="lets everybody in"):
        freeze(booru, config={"opt_out": str(tmp_path / "nowhere.txt")})
    (tmp_path / "list.txt").write_text("12x\n")
    with pytest.raises(Refused, match=r"line 1: '12x' is no post"):
        freeze(booru, config={"opt_out": str(tmp_path / "list.txt")})


def test_a_list_may_begin_with_a_mark_and_must_be_text(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("danbooru 3\n4\n", encoding="utf-8-sig")
    assert read_list(path) == {("danbooru", 3), ("", 4)}
    path.write_bytes("3  # Müller\n".encode("latin-1"))
    with pytest.raises(Refused, match=r"list\.txt: not a list of posts in UTF-8 \(byte 7\); save it as UTF-8"):
        read_list(path)


def test_a_folder_without_stages_is_refused(tmp_path):
    write_json(tmp_path / "posts.json", {})
    with pytest.raises(Refused, match="no work folder"):
        withdraw(tmp_path, {("", 1)})
    shutil.rmtree(tmp_path)
