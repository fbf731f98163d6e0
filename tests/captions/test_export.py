"""Export, read back by what kohya's trainer does with these files (library/train_util.py, finetuning guides)."""

import json
import os

import pytest

from enogu.captions.config import CaptionSet
from enogu.captions.export import Export, export
from enogu.captions.reading import reader
from enogu.cli import main
from enogu.core.records.errors import Refused

from .conftest import post

SETS = {
    "tags": CaptionSet(order=("text", "count", "character", "|||", "general", "|||", "rating")),
    "plain": CaptionSet(order=("|||", "general")),
    "none": CaptionSet(order=("|||", "species")),
}


def of_text_file(path):
    """What is read of a caption file: its first line, without surrounding space; no line at all is an error."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    assert lines, "caption file is empty"
    return lines[0].strip()


def of_metadata(entry):
    """A caption, the separator, the tags; either may be missing."""
    caption, tags = entry.get("caption") or "", entry.get("tags") or ""
    return caption + (", " if caption and tags else "") + tags


def kept_and_free(caption, separator="|||"):
    """How keep_tokens_separator divides a caption: what stays first, what is shuffled, what stays last."""
    first, free = caption.split(separator, 1)
    free, last = free.split(separator, 1) if separator in free else (free, "")
    return tuple([part.strip() for part in one.split(",") if part.strip()] for one in (first, free, last))


@pytest.fixture
def made(captioned, tmp_path):
    posts = [
        post(1, caption="A girl, smiling, looks at the sea.", image="a/1.png"),
        post(2, image="a/2.jpg", tags_general=["1girl", "smile", "sea,_the"]),
        post(3, image="b/ü 3.webp", rating="explicit"),
    ]
    folder, _ = captioned(posts, sets=SETS)
    return folder, tmp_path / "posts"


def test_text_files_hold_the_caption_on_their_first_line(made, tmp_path):
    folder, posts = made
    read = reader(folder, 0)
    for name in SETS:
        export(Export(read, posts, name), tmp_path / name, "txt")
        found = {
            path.relative_to(tmp_path / name).as_posix() for path in (tmp_path / name).rglob("*") if path.is_file()
        }
        assert found == {"a/1.txt", "a/2.txt", "b/ü 3.txt"}
        for number, path in ((1, "a/1.txt"), (2, "a/2.txt"), (3, "b/ü 3.txt")):
            assert of_text_file(tmp_path / name / path) == read.plain(number, name)


@pytest.mark.parametrize("form", ["in_json", "jsonl"])
def test_metadata_gives_the_caption_back_by_the_image_s_whole_path(made, tmp_path, form):
    folder, posts = made
    read = reader(folder, 0)
    path = tmp_path / f"meta.{form}"
    export(Export(read, posts, "tags"), path, form)
    text = path.read_text(encoding="utf-8")
    if form == "in_json":
        entries = json.loads(text)
    else:
        entries = {row.pop("image_path"): row for row in map(json.loads, text.splitlines())}
    assert all(os.path.isabs(key) for key in entries)
    assert [os.path.relpath(key, posts / "images") for key in entries] == ["a/1.png", "a/2.jpg", "b/ü 3.webp"]
    assert [of_metadata(entry) for entry in entries.values()] == [read.plain(number) for number in (1, 2, 3)]
    assert next(iter(entries.values()))["caption"] == "A girl, smiling, looks at the sea."


def test_marks_divide_what_stays_from_what_is_shuffled(made, tmp_path):
    folder, posts = made
    exported = Export(reader(folder, 0), posts, "tags", mark=True)
    export(exported, tmp_path / "meta.json", "in_json")
    entries = list(json.loads((tmp_path / "meta.json").read_text(encoding="utf-8")).values())
    free = ["blue hair", "cat ears", "smile", "^_^"]
    assert kept_and_free(entries[2]["tags"]) == (["1girl", "hatsune miku"], free, ["explicit", "nsfw"])
    assert kept_and_free(entries[0]["tags"]) == (["1girl", "hatsune miku"], free, ["safe"])
    assert exported.torn == 1  # "sea, the"


def test_two_images_that_would_share_a_text_file_are_refused(captioned, tmp_path):
    folder, _ = captioned([post(1, image="a.png"), post(2, image="a.jpg")], sets=SETS)
    made = Export(reader(folder, 0), tmp_path / "posts", "tags")
    with pytest.raises(Refused, match=r"a\.jpg and a\.png would share one \.txt"):
        export(made, tmp_path / "out", "txt")
    export(made, tmp_path / "meta.json", "in_json")
    assert len(json.loads((tmp_path / "meta.json").read_text())) == 2


def test_an_image_s_path_does_not_lead_out_of_the_folder(captioned, tmp_path):
    folder, _ = captioned([post(1, image="../../a.png")], sets=SETS)
    with pytest.raises(Refused, match="leads out of"):
        export(Export(reader(folder, 0), tmp_path / "posts", "tags"), tmp_path / "out" / "deep", "txt")
    assert not list(tmp_path.rglob("*.txt"))


@pytest.mark.parametrize("form", ["txt", "in_json", "jsonl"])
def test_captions_that_are_there_already_are_kept_unless_they_may_be_lost(form, made, tmp_path):
    folder, posts = made
    exported = Export(reader(folder, 0), posts, "tags")
    out, own = {"txt": (tmp_path, tmp_path / "b" / "ü 3.txt")}.get(form, (tmp_path / "meta", tmp_path / "meta"))
    own.parent.mkdir(exist_ok=True)
    own.write_text("by hand\n")
    with pytest.raises(Refused, match=r"(ü 3\.txt|meta) exist already.*--overwrite"):
        export(exported, out, form)
    assert own.read_text() == "by hand\n"
    assert not (tmp_path / "a").exists()
    export(exported, out, form, overwrite=True)
    assert "by hand" not in own.read_text("utf-8")


def test_the_command_exports_and_says_so(made, tmp_path, capsys):
    folder, posts = made
    out = tmp_path / "meta.json"
    assert main(["captions", "export", str(folder), str(posts), str(out), "--form", "in_json", "--set", "plain"]) == 0
    shown = capsys.readouterr()
    assert "3 captions of the set 'plain'" in shown.out
    assert "1 words have a comma" in shown.err
    assert main(["captions", "export", str(folder), str(posts), str(out), "--set", "plane"]) == 2
    assert "did you mean 'plain'" in capsys.readouterr().err
