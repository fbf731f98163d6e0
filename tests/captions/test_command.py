"""`enogu captions`: what training reads, and the token report."""

import json

from enogu.captions.reading import reader
from enogu.cli import main
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
