"""`enogu posts`: the funnel of a source or of a finished stage, and single posts."""

import json

from enogu.cli import main


def test_count_shows_the_funnel_of_a_source(booru, capsys):
    assert main(["posts", "count", str(booru), "--where", 'score_min = 0, tags_all = ["blue_*"]']) == 0
    shown = capsys.readouterr().out
    assert "20  read" in shown
    assert "score_min" in shown
    assert "blue_hair" in shown


def test_count_of_a_finished_stage_is_its_own_funnel(booru, freeze, capsys):
    folder, summary = freeze(booru, score_min=0)
    assert main(["posts", "count", str(folder), "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)
    assert counted["funnel"] == {row["step"]: row["left"] for row in summary["funnel"]}
    assert counted["rating"] == {"general": summary["posts"]}


def test_show_prints_posts_by_id(booru, capsys):
    assert main(["posts", "show", str(booru), "4", "2", "--json"]) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first["id"], second["id"]) == (2, 4)
    assert first["tags_general"] == ["1girl", "smile", "blue_hair"]


def test_mistakes_are_refused_in_one_line(booru, tmp_path, capsys):
    for arguments, message in (
        (["count", str(tmp_path / "nowhere")], "there is no"),
        (["count", str(booru), "--where", "rating = ["], "is not TOML"),
        (["count", str(booru), "--where", "scoremin = 3"], "did you mean 'score_min'"),
        (["show", str(booru), "99"], "no post 99"),
    ):
        assert main(["posts", *arguments]) == 2
        said = capsys.readouterr()
        assert message in said.err
        assert said.out == ""
