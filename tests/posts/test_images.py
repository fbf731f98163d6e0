"""Pictures as files, as members of tars, and in webdataset shards; what a tar should not hold is never read."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from enogu.core.records import tars
from enogu.core.records.errors import Refused
from enogu.core.records.picture import PictureError, read_bytes, read_picture
from enogu.core.records.posts import read_manifest
from enogu.core.records.tars import inside, members, read_member
from enogu.posts.config import PostsConfig

from .conftest import draw, post, write_json_lines
from .test_readers import read, skips


def png(seed, width=40, height=30):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out := io.BytesIO(), "png")
    return out.getvalue()


def pack(path, files, *, index=False):
    """Write a tar, and the index of hfutils beside it: JSON with offset and size of every member."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    if index:
        with tarfile.open(path) as archive:
            places = {info.name: {"offset": info.offset_data, "size": info.size, "sha256": ""} for info in archive}
        listed = {"filesize": path.stat().st_size, "hash": "", "hash_lfs": "", "files": places}
        path.with_suffix(".json").write_text(json.dumps(listed), "utf-8")
    return path


@pytest.mark.parametrize("index", [True, False])
def test_a_path_goes_through_a_tar_as_through_a_folder(tmp_path, index):
    pack(tmp_path / "images/4/0514.tar", {f"{name}.png": png(name) for name in (114514, 214514)}, index=index)
    path = tmp_path / "images/4/0514.tar/114514.png"
    assert inside(path) == (tmp_path / "images/4/0514.tar", "114514.png")
    assert read_bytes(path) == png(114514)
    assert read_picture(path).shape == (30, 40, 3)
    for lost in ("114515.png", "../0514.tar", "a/../114514.png"):
        with pytest.raises(PictureError, match="missing"):
            read_bytes(tmp_path / "images/4/0514.tar" / lost)


def test_the_index_beside_a_tar_is_used_unless_the_tar_has_changed(tmp_path, monkeypatch):
    tar = pack(tmp_path / "a.tar", {"1.png": png(1)}, index=True)
    with monkeypatch.context() as patched:
        patched.setattr(tars, "members", None)
        assert read_member(tar, "1.png") == png(1)
    stale = tar.with_suffix(".json").read_bytes()
    pack(tar, {"0.png": png(7, 90, 90), "1.png": png(2)})
    tar.with_suffix(".json").write_bytes(stale)
    assert read_member(tar, "1.png") == png(2)
    for broken in (b"", b"[]", b'{"files": {"1.png": {"offset": "x"}}}', b"\xff"):
        tar.with_suffix(".json").write_bytes(broken)
        tars._index.cache_clear()
        assert read_member(tar, "1.png") == png(2)


def test_an_index_that_points_out_of_its_tar_finds_nothing(tmp_path):
    tar = pack(tmp_path / "a.tar", {"1.png": png(1)})
    places = {"far.png": {"offset": 10**9, "size": 5}, "minus.png": {"offset": -5, "size": 5},
              "../up.png": {"offset": 512, "size": 5}, "/abs.png": {"offset": 512, "size": 5}}  # fmt: skip
    tar.with_suffix(".json").write_text(json.dumps({"files": places}), "utf-8")
    for name in places:
        with pytest.raises(FileNotFoundError):
            read_member(tar, name)


def wicked(path):
    """A tar with everything that a tar should not hold, and two sound pictures."""
    with tarfile.open(path, "w") as archive:
        for name in ("1.png", "../out.png", "/etc/out.png", "a/../../out.png", "2.png"):
            info = tarfile.TarInfo(name)
            data = png(len(name))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, kind in (("sym.png", tarfile.SYMTYPE), ("hard.png", tarfile.LNKTYPE), ("dev.png", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        for name in ("1.txt", "2.txt"):
            info = tarfile.TarInfo(name)
            info.size = 5
            archive.addfile(info, io.BytesIO(b"1girl"))
    return path


def test_links_and_paths_that_climb_out_are_listed_and_the_rest_is_read(tmp_path):
    (tmp_path / "set").mkdir()
    wicked(tmp_path / "set" / "0.tar")
    frame, tally = read(tmp_path / "set", tmp_path)
    assert frame["image"].to_list() == ["0.tar/1.png", "0.tar/2.png"]
    assert skips(tally) == {
        "0.tar/../out.png": "a path that climbs out",
        "0.tar//etc/out.png": "a path that climbs out",
        "0.tar/a/../../out.png": "a path that climbs out",
        "0.tar/sym.png": "a link",
        "0.tar/hard.png": "a link",
        "0.tar/dev.png": "not a plain file",
    }
    for name in ("sym.png", "hard.png", "../out.png"):
        with pytest.raises(FileNotFoundError):
            read_member(tmp_path / "set" / "0.tar", name)


def test_a_tar_that_ends_too_early_gives_its_whole_members(tmp_path):
    tar = pack(tmp_path / "a.tar", {f"{name}.png": png(name) for name in range(5)})
    sound = list(members(tar))
    tar.write_bytes(tar.read_bytes()[: sound[3].offset + 100])
    found = list(members(tar))
    assert [member.name for member in found if not member.fault] == ["0.png", "1.png", "2.png"]
    assert next(member.fault for member in found if member.fault) == "truncated"
    tar.write_bytes(b"no tar at all" * 100)
    (only,) = members(tar)
    assert only.fault.startswith("the tar is damaged")


def test_posts_from_a_dump_with_their_pictures_in_tars(tmp_path, freeze):
    posts = [post(number) for number in (114514, 114515, 214514, 3)]
    write_json_lines(tmp_path / "booru", posts)
    pack(tmp_path / "pool/images/4/0514.tar", {f"{number}.png": png(number) for number in (114514, 214514)}, index=True)
    pack(tmp_path / "pool/images/4/0515.tar", {"114515.png": b""})
    layout = {"images": str(tmp_path / "pool"), "file": "images/{id//1000%10}/0{id%1000:03}.tar/{id}.{file_ext}"}
    folder, summary = freeze(tmp_path / "booru", config=layout)
    manifest = read_manifest(folder)
    assert manifest.frame["id"].to_list() == [114514, 214514]
    assert manifest.frame["image"][0] == "images/4/0514.tar/114514.png"
    assert read_picture(manifest.image(1)).shape == (30, 40, 3)
    assert summary["skipped"] == {"empty": 1, "missing": 1}


def test_pictures_in_whichever_tar_holds_them(tmp_path, freeze):
    hidden = {key: value for key, value in post(5).items() if key != "md5"}
    write_json_lines(tmp_path / "booru", [*(post(number) for number in (1, 2, 3, 4)), hidden])
    pack(tmp_path / "pool/original/data-0001.tar", {"1.webp": png(1), "2.png": png(2), "5.png": png(5)}, index=True)
    pack(tmp_path / "pool/recent/data-1001.tar", {"2.png": png(22), "3.png": png(3)})
    config = {"images": str(tmp_path / "pool"), "file": "*.tar/{id}"}
    folder, summary = freeze(tmp_path / "booru", config=config)
    assert read_manifest(folder).frame["image"].to_list() == [
        "original/data-0001.tar/1.webp",
        "recent/data-1001.tar/2.png",
        "recent/data-1001.tar/3.png",
    ]
    assert summary["skipped"] == {"missing": 1}
    with pytest.raises(Refused, match="there is no tar below"):
        freeze(tmp_path / "booru", out="none", config={"file": "*.tar/{id}"})


@pytest.mark.parametrize("whole", [True, False])
def test_webdataset_shards(tmp_path, freeze, whole):
    shard = {
        "000000.png": png(1),
        "000000.json": json.dumps({"tags": "1girl smile", "rating": "general", "caption": "a girl"}).encode(),
        "sub/000001.png": png(2),
        "sub/000001.txt": b"1boy, rating:general",
        "000002.json": b"{}",
        "000003.png": png(3),
        "000004.png": png(4),
        "000004.txt": b"\xff\xfe",
    }
    pack(tmp_path / "set/shard-0.tar", shard)
    pack(tmp_path / "set/shard-1.tar", {"000000.png": png(5), "000000.txt": b"tree, rating:general"})
    source = tmp_path / "set" if whole else tmp_path / "set/shard-0.tar"
    folder, summary = freeze(source)
    frame = read_manifest(folder).frame
    assert summary["posts"] == (3 if whole else 2)
    assert summary["skipped"] == {
        "no picture of that name": 1,
        "no .txt or .json beside it": 1,
        ".txt is not UTF-8": 1,
    }
    first = frame.filter(frame["image"] == "shard-0.tar/000000.png").row(0, named=True)
    assert (first["tags_general"], first["caption"], first["id"]) == (["1girl", "smile"], "a girl", 0)
    assert len(set(frame["id"])) == len(frame)


def test_links_in_a_folder_are_listed(tmp_path):
    draw(tmp_path / "elsewhere/secret.png").with_suffix(".txt").write_text("x")
    draw(tmp_path / "set/1.png").with_suffix(".txt").write_text("x")
    (tmp_path / "set/link.png").symlink_to(tmp_path / "elsewhere/secret.png")
    (tmp_path / "set/door").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/loop").symlink_to(tmp_path / "set")
    frame, tally = read(tmp_path / "set", tmp_path)
    assert frame["image"].to_list() == ["1.png"]
    assert skips(tally) == {"link.png": "a symbolic link"}


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{id}.{file_ext}", "114514.png"),
        ("data-{id%1000:04}.tar/{id}.webp", "data-0514.tar/114514.webp"),
        ("{md5:.2}/{md5}.{file_ext}", "00/0000000000000000000000000001bf52.png"),
        ("{id//1000:06}/{id}", "000114/114514"),
    ],
)
def test_paths_are_filled_from_a_template(tmp_path, template, path):
    frame, _ = read(write_json_lines(tmp_path, [post(114514)]), tmp_path, file=template)
    assert frame["image"].to_list() == [path]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{md}.png", "did you mean 'md5'"),
        ("{id%0}.png", "not understood"),
        ("{md5%10}.png", "not understood"),
        ("{id:>8}", "not understood"),
        ("{id", "write it as"),
        ("", "is empty"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(template, message):
    with pytest.raises(Refused, match=message):
        PostsConfig(source="a", file=template)
