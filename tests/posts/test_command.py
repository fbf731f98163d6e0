"""`enogu posts`: the funnel of a source or of a finished stage, and single posts."""

import json

import pytest

from enogu.cli import main

from .conftest import post, write_json_lines


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


@pytest.mark.parametrize("way", ["count", "stats"])
def test_the_first_line_says_which_posts_are_counted(booru, freeze, capsys, way):
    folder, _ = freeze(booru, score_min=0)

    def first(*given):
        assert main(["posts", way, *map(str, given)]) == 0
        return capsys.readouterr().out.splitlines()[0]

    assert first(booru) == first(booru, "smile") == f"of the posts of {booru}:"
    assert first(folder) == f"as {folder} chose them:"
    assert first(folder, "smile") == f"of all posts that {folder} has read, chosen or not:"


def test_a_finished_stage_finds_its_lists_from_any_folder(booru, freeze, tmp_path, capsys, monkeypatch):
    (tmp_path / "list.txt").write_text("3\n")
    monkeypatch.chdir(tmp_path)
    folder, _ = freeze(booru, config={"opt_out": "list.txt"})
    monkeypatch.chdir(booru)
    assert main(["posts", "count", str(folder), "smile", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["funnel"]["not opted out"] == 19


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
        (["count", str(booru), "scroe:>3"], "enogu: query: unknown column 'scroe'; did you mean 'score:'?"),
        (["stats", str(booru), "scroe:>3"], "enogu: query: unknown column 'scroe'; did you mean 'score:'?"),
        (["show", str(booru), "99"], "no post 99"),
    ):
        assert main(["posts", *arguments]) == 2
        said = capsys.readouterr()
        assert message in said.err
        assert said.out == ""


def test_count_tells_what_it_could_not_read_or_must_not(tmp_path, capsys):
    source = write_json_lines(tmp_path, [post(1), post(2, tag_string_general="loli"), post(3), post(-4)])
    source.write_text(source.read_text("utf-8") + '{"id": 5, "tag\n{"id": 6, "tag\n', "utf-8")
    assert main(["posts", "count", str(source), "--json"]) == 0
    said = capsys.readouterr()
    funnel = json.loads(said.out)["funnel"]
    assert (funnel["read"], funnel["not on the blocklist"], funnel["rating"]) == (4, 3, 2)
    assert said.err.splitlines() == [
        "enogu: 2 skipped, first line 5: not JSON",
        "enogu: 1 skipped, first post -4: negative id",
    ]


@pytest.mark.parametrize("way", ["count", "stats"])
def test_queries_know_the_tables_of_tags(booru, freeze, tmp_path, capsys, way):
    (tmp_path / "aliases.csv").write_text("antecedent_name,consequent_name\nazure_hair,blue_hair\n", "utf-8")
    (tmp_path / "implications.csv").write_text("antecedent_name,consequent_name\nblue_hair,coloured_hair\n", "utf-8")
    tables = {name: str(tmp_path / f"{name}.csv") for name in ("aliases", "implications")}
    given = [word for name, path in tables.items() for word in (f"--{name}", path)]
    folder, _ = freeze(booru, config=tables)

    def counted(source, query, *options):
        assert main(["posts", way, str(source), query, "--json", *options]) == 0
        said = capsys.readouterr()
        told = json.loads(said.out)
        return (told["posts"] if way == "stats" else list(told["funnel"].values())[-1]), said.err

    for query in ("azure_hair", "coloured_hair"):
        none, note = counted(booru, query)
        assert none == 0
        assert f"no post has '{query}'" in note
        assert counted(booru, query, *given)[0] == 20
        assert counted(folder, query)[0] == 20  # a finished stage has tables of its own


def test_count_of_a_finished_stage_minds_who_opted_out_since(booru, freeze, capsys):
    folder, _ = freeze(booru)
    (folder.parent / "opt-out.txt").write_text("3\ndanbooru 4\n", "utf-8")
    assert main(["posts", "count", str(folder), "smile", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["funnel"]["not opted out"] == 18
