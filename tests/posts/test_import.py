"""Importing: killed at any moment it loses no finished record, and whatever is broken is counted and listed."""

import gzip
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from enogu.core.records.errors import Failed, Refused
from enogu.core.records.posts import SCHEMA
from enogu.core.records.progress import silent
from enogu.posts import danbooru_sqlite, e621_csv, folder, importing, json_posts, packed, pairs
from enogu.posts.config import PostsConfig
from enogu.posts.importing import import_posts
from enogu.posts.sources import find

from .conftest import draw, post, write_json_lines, write_sqlite
from .test_readers import read, skips

IMPORT = """
import sys
from pathlib import Path
from enogu.posts import danbooru_sqlite, packed, pairs
from enogu.posts.config import PostsConfig
from enogu.posts.importing import import_posts
from enogu.posts.sources import find
packed.BLOCK, danbooru_sqlite.POSTS, pairs.ROWS = 3000, 10, 500
path, source = find(Path(sys.argv[1]), "auto")
import_posts(path, source, Path(sys.argv[2]), config=PostsConfig(source=sys.argv[1]), progress=lambda *_: None)
"""


class Killed(BaseException):
    """What a test raises in the place of kill -9, at a moment that it chooses."""


def killed_at(monkeypatch, moment):
    """Let the import die at the n-th of its writes, before or after the file has its name."""
    left = [moment]
    replace = os.replace

    def dying(source, target):
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        replace(source, target)

    monkeypatch.setattr(os, "replace", dying)


def run(source, target):
    path, kind = find(source, "auto")
    return import_posts(path, kind, target, config=PostsConfig(source=str(source)), progress=silent)


def small_batches(monkeypatch):
    monkeypatch.setattr(packed, "BLOCK", 1500)
    monkeypatch.setattr(danbooru_sqlite, "POSTS", 4)
    monkeypatch.setattr(pairs, "ROWS", 30)
    monkeypatch.setattr(folder, "FILES", 4)
    monkeypatch.setattr(json_posts, "PAGED", 4)
    monkeypatch.setattr(e621_csv, "ROWS", 4)


def sources(tmp_path):
    posts = [post(number, tag_string_general=f"1girl tag_{number}") for number in range(1, 21)]
    lines = write_json_lines(tmp_path / "lines", posts)
    lines.write_bytes(lines.read_bytes().replace(b'"id": 7,', b'"id": 7'))
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "posts.json").write_text(json.dumps(posts, indent=1), "utf-8")
    (tmp_path / "sqlite").mkdir()
    for one in posts:
        picture = draw(tmp_path / "folder" / f"{one['id']}.png", 4, 4)
        picture.with_suffix(".txt").write_text(f"1girl, tag_{one['id']}", "utf-8")
    rows = "".join(f"{number},s,tag_{number},2020-01-01 00:00:00\n" for number in range(1, 21))
    (tmp_path / "csv").mkdir()
    with gzip.open(tmp_path / "csv" / "posts-1.csv.gz", "wt") as out:
        out.write("id,rating,tag_string,created_at\n" + rows)
    many = tmp_path / "many"
    write_json_lines(many, posts[:9]).rename(many / "a.jsonl")
    write_json_lines(many, posts[9:]).rename(many / "b.jsonl")
    write_sqlite(tmp_path / "sqlite", posts)
    return {name: tmp_path / name for name in ("lines", "pages", "sqlite", "folder", "csv", "many")}


@pytest.mark.parametrize("kind", ["lines", "pages", "sqlite", "folder", "csv", "many"])
def test_an_import_killed_at_any_write_goes_on_and_ends_the_same(tmp_path, monkeypatch, kind):
    small_batches(monkeypatch)
    source = sources(tmp_path)[kind]
    whole = run(source, tmp_path / "whole" / "posts.parquet")
    expected = pl.read_parquet(tmp_path / "whole" / "posts.parquet")
    again = skips(whole)
    assert len(expected) + len(again) == 20
    for moment in (0, 1, 4, 5, 6, 9):
        target = tmp_path / f"out{moment}" / "posts.parquet"
        with monkeypatch.context() as patched:
            killed_at(patched, moment)
            with pytest.raises(Killed):
                run(source, target)
        finished = [path.stat().st_mtime_ns for path in sorted((target.parent / "import").glob("0*.json"))]
        tally = resumed(source, target, finished, monkeypatch)
        assert pl.read_parquet(target).equals(expected)
        assert (tally.read, tally.reasons, skips(tally)) == (whole.read, whole.reasons, again)


@pytest.mark.parametrize("kind", ["lines", "sqlite"])
def test_the_bytes_are_the_same_whatever_the_size_of_a_batch(tmp_path, monkeypatch, kind):
    source = sources(tmp_path)[kind]
    run(source, tmp_path / "at once" / "posts.parquet")
    small_batches(monkeypatch)
    run(source, tmp_path / "in batches" / "posts.parquet")
    assert (tmp_path / "in batches" / "posts.parquet").read_bytes() == (
        tmp_path / "at once" / "posts.parquet"
    ).read_bytes()


def resumed(source, target, finished, monkeypatch):
    """Go on with an import, and see that what was sealed is not written again."""
    sealed = []

    def finish(parts, tally):
        sealed.extend(path.stat().st_mtime_ns for path in parts.files("json"))

    with monkeypatch.context() as patched:
        patched.setattr(importing.Parts, "finish", finish)
        tally = run(source, target)
    assert sealed[: len(finished)] == finished
    return tally


@pytest.mark.parametrize(
    ("form", "kills"),
    [
        ("json", 2),
        pytest.param("json", 25, marks=pytest.mark.slow),
        pytest.param("sqlite", 25, marks=pytest.mark.slow),
    ],
)
def test_kill_9_at_random_moments_loses_no_post(tmp_path, kills, form):
    posts = [post(number, tag_string_general=f"1girl tag_{number % 37}") for number in range(1, 401)]
    source = write_json_lines(tmp_path, posts) if form == "json" else write_sqlite(tmp_path, posts)
    target, dice = tmp_path / "out" / "posts.parquet", random.Random(form)
    command = [sys.executable, "-c", IMPORT, str(source), str(target)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "POLARS_MAX_THREADS": "1"}
    sealed, killed = 0, 0
    for _ in range(20 * kills):
        child = subprocess.Popen(command, env=environment)
        limit = time.monotonic() + 60
        goal = sealed + dice.randrange(1, 4)
        while child.poll() is None and time.monotonic() < limit and parts(target) < goal:
            time.sleep(0.001)
        time.sleep(dice.random() / 100)
        child.send_signal(signal.SIGKILL)
        if child.wait() == 0:
            if killed >= kills:
                break
            target.unlink()
            (target.parent / "import" / "source.json").unlink()  # begin anew
            sealed = 0
            continue
        killed += 1
        assert parts(target) >= sealed
        sealed = parts(target)
        if killed >= kills:
            subprocess.run(command, env=environment, check=True)
            break
    frame = pl.read_parquet(target)
    assert frame["id"].to_list() == [one["id"] for one in posts]
    assert frame["tags_general"].to_list() == [["1girl", f"tag_{one['id'] % 37}"] for one in posts]


def parts(target: Path) -> int:
    return len(list((target.parent / "import").glob("0*.json")))


def test_a_full_disk_is_named_and_the_import_goes_on_when_there_is_room(tmp_path, monkeypatch):
    small_batches(monkeypatch)
    posts = [post(number, tag_string_general=f"1girl {os.urandom(300 * (number // 8)).hex()}") for number in range(20)]
    source, target = write_json_lines(tmp_path, posts), tmp_path / "out" / "posts.parquet"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, hard))  # as a disk that takes no more
    try:
        with pytest.raises(Failed, match=r"cannot be written .* make room and run again"):
            run(source, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert parts(target) > 1
    assert run(source, target).read == 20
    assert pl.read_parquet(target)["id"].to_list() == list(range(20))


def test_a_finished_import_is_not_done_again_and_a_changed_source_is(tmp_path, monkeypatch):
    source = write_json_lines(tmp_path, [post(1)])
    target = tmp_path / "out" / "posts.parquet"
    first = run(source, target)
    state = target.stat().st_mtime_ns
    with monkeypatch.context() as patched:
        patched.setattr(importing.Parts, "write", None)
        assert run(source, target).read == first.read
    assert target.stat().st_mtime_ns == state
    write_json_lines(tmp_path, [post(1), post(2)])
    assert run(source, target).read == 2
    pictures = tmp_path / "pics"
    draw(pictures / "1.png").with_suffix(".txt").write_text("a", "utf-8")
    run(pictures, tmp_path / "b" / "posts.parquet")
    (pictures / "1.txt").write_text("another", "utf-8")
    run(pictures, tmp_path / "b" / "posts.parquet")
    assert pl.read_parquet(tmp_path / "b" / "posts.parquet")["tags_general"].to_list() == [["another"]]


def test_duplicate_and_negative_ids_are_listed_and_the_first_post_stays(tmp_path, monkeypatch):
    small_batches(monkeypatch)
    posts = [post(number % 5 + 1, tag_string_general=f"from_{number}") for number in range(12)] + [post(-3)]
    frame, tally = read(write_json_lines(tmp_path, posts), tmp_path)
    assert frame["id"].to_list() == [1, 2, 3, 4, 5]
    assert frame["tags_general"].to_list() == [[f"from_{number}"] for number in range(5)]
    assert tally.reasons == {"an id that came before": 7, "negative id": 1}
    listed = tally.skipped.read_text("utf-8").splitlines()
    assert len(listed) == 8
    assert json.loads(listed[0]) == {"at": "post -3", "reason": "negative id"}


def test_pictures_of_one_name_in_several_folders_all_stay(tmp_path):
    for name in ("a/1", "b/1", "2"):
        draw(tmp_path / "set" / f"{name}.png").with_suffix(".txt").write_text("x", "utf-8")
    frame, tally = read(tmp_path / "set", tmp_path)
    assert len(set(frame["id"])) == 3
    assert set(frame["id"]) > {1, 2}
    assert tally.remarks["numbered by its path, since its number came before"] == 1


def test_1250_tags_with_commas_brackets_and_quotes(tmp_path):
    words = [f"tag,with_(brackets)_[{number}]_\"'{{}};:" for number in range(1250)]
    posts = [post(1, tag_string_general=" ".join(words)), post(2, tag_string_general=" a  b\tc\n")]
    for source in (write_json_lines(tmp_path, posts), write_sqlite(tmp_path, posts)):
        frame, _ = read(source, tmp_path)
        assert frame["tags_general"].to_list() == [words, ["a", "b", "c"]]
        (tmp_path / "read" / "posts.parquet").unlink()


def test_what_was_read_but_hardly_understood_is_counted(tmp_path):
    odd = [post(1, created_at="2020-01-01 10:00:00"), post(2, created_at="last tuesday", score="many"),
           post(3, created_at=None, image_width="12.0"), post(4, created_at="2020-01-01 10:00:00 UTC")]  # fmt: skip
    frame, tally = read(write_json_lines(tmp_path, odd), tmp_path)
    assert tally.remarks == {
        "time without a zone, taken as UTC": 2,
        "created_at not understood": 1,
        "score not understood": 1,
    }
    assert frame["width"].to_list() == [40, 40, 12, 40]
    assert frame["created_at"].null_count() == 2


@pytest.mark.parametrize("packing", ["plain", "gz"])
def test_a_file_that_ends_too_early_gives_what_is_whole(tmp_path, packing):
    text = "".join(json.dumps(post(number, source=os.urandom(400).hex())) + "\n" for number in range(1, 301)).encode()
    if packing == "plain":
        source, data = tmp_path / "posts.jsonl", text[: len(text) // 2]
    else:
        source, data = tmp_path / "posts.jsonl.gz", gzip.compress(text)
        data = data[: len(data) // 2]
    source.write_bytes(data)
    frame, tally = read(source, tmp_path)
    assert 100 < len(frame) < 160
    assert frame["id"].to_list() == list(range(1, len(frame) + 1))
    (reason,) = skips(tally).values()
    assert reason == "not JSON" if packing == "plain" else reason.startswith("the file is damaged from here on")


def test_pages_with_broken_posts_among_them(tmp_path):
    good = [json.dumps(post(number)) for number in range(1, 6)]
    text = ",\n".join([*good[:2], '{"id": 9, "rating": g, "oops"}', '{"id": "none"}', *good[2:]])
    (tmp_path / "posts.json").write_bytes(b"\xef\xbb\xbf[" + text.encode() + b', {"id": 8, "tag_str')
    frame, tally = read(tmp_path / "posts.json", tmp_path)
    assert frame["id"].to_list() == [1, 2, 3, 4, 5]
    assert sorted(skips(tally).values()) == ["no id", "not JSON", "truncated"]


def test_by_line_and_at_once_read_the_same(tmp_path, monkeypatch):
    odd = [post(1, score=2.0, is_deleted="true", source="naïve \ud83c\udf38", pixiv_id="12"), post(2, fav_count=None),
           post(3, image_width=[4], is_banned=1, media_asset={"pixel_hash": "f" * 32})]  # fmt: skip
    source = write_json_lines(tmp_path, odd)
    fast, _ = read(source, tmp_path)
    (tmp_path / "read" / "posts.parquet").unlink()
    monkeypatch.setattr(json_posts, "_at_once", lambda *_: None)
    slow, _ = read(source, tmp_path)
    assert fast.equals(slow)
    assert fast["pixel_hash"][2] == "f" * 32
    assert fast["score"][0] == 2


def test_sqlite_with_broken_text_foreign_pairs_and_no_index(tmp_path):
    path = write_sqlite(tmp_path, [post(1), post(2), post(4)])
    with sqlite3.connect(path) as base:
        base.execute("update post set file_ext = cast(x'ff00' as text) where id = 1")
        base.execute("update post set score = 'many' where id = 2")
        base.execute("insert into posttagrelation (post_id, tag_id) values (3, 1), (4, 999), (99, 1), (1, 1)")
        base.execute("insert into posttagrelation values (-5, 2, 1), (1000000000000, 2, 2)")
        base.execute("insert into tag values (500, 'odd' || char(10) || 'name', 9, 0)")
        base.execute("insert into posttagrelation (post_id, tag_id) values (1, 500)")
    frame, tally = read(path, tmp_path)
    assert frame["id"].to_list() == [1, 2, 4]
    assert frame["file_ext"].to_list() == [None, "png", "png"]
    assert frame["score"].to_list()[1] is None
    assert frame["tags_general"].to_list()[0] == ["1girl", "smile", "blue_hair", "1girl", "odd_name"]
    assert frame["tags_general"].to_list()[1] == ["1girl", "1girl", "smile", "blue_hair", "smile"]
    assert tally.remarks["score not understood"] == 1


def test_hakubooru_s_local_paths_are_the_images(tmp_path, monkeypatch):
    small_batches(monkeypatch)
    path = write_sqlite(tmp_path, [post(number) for number in range(1, 8)])
    with sqlite3.connect(path) as base:
        base.execute("create table localpost (id integer primary key, filepath text, latentpath text, post_id int)")
        base.execute(
            "insert into localpost values (1, 'a/2.webp', '', 2), (2, 'b/2.webp', '', 2), (3, 'a/7.webp', '', 7)"
        )
    frame, _ = read(path, tmp_path)
    assert frame["image"].to_list() == ["1.png", "a/2.webp", *(f"{number}.png" for number in range(3, 7)), "a/7.webp"]


def test_a_source_with_nothing_in_it_is_refused_by_what_was_found(tmp_path):
    (tmp_path / "posts.csv").write_text('id,rating,tag_string\n1,s\n2,s,"never closed\n' + "3,s,a\n" * 100)
    with pytest.raises(Refused, match=r"holds no post \(0 read, 0 blocked; 1 too many or too few columns, 1 not CSV"):
        read(tmp_path / "posts.csv", tmp_path)
    (tmp_path / "other.json").write_text('{"name": 1, "pages": 2}')
    with pytest.raises(Refused, match="its first post has name, pages"):
        read(tmp_path / "other.json", tmp_path)
    (tmp_path / "wide.jsonl").write_text(json.dumps(post(1)), "utf-16")
    with pytest.raises(Refused, match="its first line is not UTF-8"):
        read(tmp_path / "wide.jsonl", tmp_path)
    for name in ("empty.jsonl", "empty.tar", "empty.csv"):
        (tmp_path / name).touch()
        with pytest.raises(Refused, match="does not look like any format"):
            read(tmp_path / name, tmp_path)


def test_a_damaged_sqlite_is_refused_by_what_is_wrong_with_it(tmp_path):
    whole = write_sqlite(tmp_path, [post(number) for number in range(1, 300)]).read_bytes()
    scratched = bytearray(whole)
    scratched[8192:] = b"\xaa" * (len(whole) - 8192)
    cut = len(whole) // 2
    for data, why in (
        (whole[:cut], f"it is cut off: it has {cut:,} of {len(whole):,} bytes"),
        (whole[:50], "cut off within its header"),
        (bytes(scratched), "malformed"),
    ):
        (tmp_path / "broken.db").write_bytes(data)
        with pytest.raises(Refused, match=f"{why}.*copy it again"):
            read(tmp_path / "broken.db", tmp_path)
    for table, column in (("post", "rating"), ("tag", "type"), ("posttagrelation", "tag_id")):
        (tmp_path / "less.db").write_bytes(whole)
        with sqlite3.connect(tmp_path / "less.db") as base:
            base.execute(f"alter table {table} rename column {column} to another")
        with pytest.raises(Refused, match=f"its table {table} has no column {column}; it has another, "):
            read(tmp_path / "less.db", tmp_path)


def test_of_many_files_the_one_with_the_fault_is_named(tmp_path):
    for name in "ab":
        lines = write_json_lines(tmp_path / "many", [post(ord(name) + number) for number in (0, 10)])
        lines.rename(tmp_path / "many" / f"{name}.jsonl")
    with (tmp_path / "many" / "b.jsonl").open("a") as out:
        out.write('{"id": 3, "tag_st\n')
    _, tally = read(tmp_path / "many", tmp_path)
    assert skips(tally) == {"b.jsonl, line 3": "not JSON"}


def test_a_source_without_most_columns_is_still_read(tmp_path):
    frame, _ = read(write_json_lines(tmp_path, [{"id": 1, "tag_string_general": "a b"}]), tmp_path)
    assert dict(frame.schema) == SCHEMA
    assert frame["rating"].to_list() == ["unknown"]
    with sqlite3.connect(tmp_path / "few.db") as base:
        base.executescript(
            "create table post (id integer primary key, rating int); insert into post values (5, 0);"
            "create table tag (id int, name text, type int); create table posttagrelation (post_id int, tag_id int);"
        )
    frame, _ = read(tmp_path / "few.db", tmp_path)
    assert (frame["id"].to_list(), frame["rating"].to_list()) == ([5], ["general"])
