"""`enogu captions`: what training reads, and the token report."""

import json

from enogu.captions.config import CaptionSet
from enogu.captions.reading import reader
from enogu.cli import main
from enogu.core.networks.tokenizer import tokenize
from enogu.core.records.files import read_json

from .conftest import post


def test_preview_shows_what_training_reads(captioned, capsys):
    folder, _ = captioned([post(number) for number in (4, 9)])
    assert main(["captions", "preview", str(folder), "9", "--epochs", "2", "--seed", "5"]) == 0
    shown = capsys.readouterr().out
    read = reader(folder, 5)
    assert "post 9" in shown
    assert "post 4" not in shown
    for caption in (read.plain(9), read.caption(9, epoch=0), read.caption(9, epoch=1)):
        assert caption in shown


def test_preview_without_posts_shows_the_first(captioned, capsys):
    folder, _ = captioned([post(number) for number in range(4, 20)])
    assert main(["captions", "preview", str(folder)]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("post")] == [
        f"post {number}" for number in range(4, 9)
    ]


def test_tokens_shows_the_report_and_what_is_cut(captioned, capsys):
    many = [f"tag_number_{number}" for number in range(40)]
    folder, _ = captioned([post(1, tags_general=many)])
    assert main(["captions", "tokens", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "over 75" in shown
    assert "tags: beyond 75 tokens:" in shown
    assert main(["captions", "tokens", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == read_json(folder / "tokens.json")


def test_a_folder_that_is_no_captions_stage_is_refused(tmp_path, capsys):
    assert main(["captions", "preview", str(tmp_path)]) == 2
    assert "no finished captions stage" in capsys.readouterr().err


def test_preview_marks_where_a_window_ends(captioned, capsys):
    many = [f"tag_number_{number}" for number in range(40)]
    folder, _ = captioned([post(1, tags_general=many)])
    assert main(["captions", "preview", str(folder), "--epochs", "0"]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    caption = line.partition("tokens  ")[2]
    before, _, after = caption.partition("[75] ")
    assert len(tokenize(before)) <= 75 < len(tokenize(before + after.split(", ")[0] + ","))
    assert "[150] " in after
    assert before + after.replace("[150] ", "") == reader(folder, 0).plain(1)


def test_preview_can_be_read_by_another_program(captioned, capsys):
    folder, _ = captioned([post(1)], drop_caption=0.0)
    assert main(["captions", "preview", str(folder), "--epochs", "1", "--json"]) == 0
    written, read = map(json.loads, capsys.readouterr().out.splitlines())
    assert (written["read"], read["read"]) == ("written", "epoch 0")
    assert read["caption"] == reader(folder, 0).caption(1, epoch=0)
    assert written["groups"]["general"] == ["blue hair", "cat ears", "smile", "^_^"]


def test_texts_names_what_was_not_fit(captioned, capsys):
    sets = {"nl": CaptionSet(order=("text", "|||", "general"))}
    folder, _ = captioned([post(1, caption="solo, smile, sky, hat"), post(2, caption="A hat.")], sets=sets)
    assert main(["captions", "texts", str(folder)]) == 0
    assert capsys.readouterr().out == "text: sentence (1), tags (1)\n  post 1: tags: solo, smile, sky, hat\n"


def test_what_there_is_nothing_of_is_said(captioned, capsys):
    folder, _ = captioned([post(1)], drop_caption=0.999)
    assert main(["captions", "preview", str(folder), "--epochs", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "  epoch 0     0 tokens  (dropped)"
    assert main(["captions", "texts", str(folder)]) == 0
    assert "say no sentences" in capsys.readouterr().out
