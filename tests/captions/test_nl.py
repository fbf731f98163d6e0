"""An NL captioner of the maker's own: what it is asked, what is kept of its answers, what is listed, kills."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from enogu.captions.config import CaptionsConfig, CaptionSet
from enogu.captions.nl.answers import parsed
from enogu.captions.nl.config import NlConfig
from enogu.captions.nl.schema import fault, published
from enogu.captions.nl.stage import run
from enogu.captions.reading import reader
from enogu.captions.stage import run as run_captions
from enogu.cli import main
from enogu.core.records.errors import Failed, Refused
from enogu.core.records.job import Job

from .conftest import post

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "describe.py"


@pytest.fixture
def posts(posts_folder: Callable[..., Path]) -> Path:
    """Six posts with pictures, of which the last is missing."""
    folder = posts_folder([post(number) for number in range(1, 7)])
    (folder / "images").mkdir()
    for number in range(1, 6):
        (folder / "images" / f"{number}.png").write_bytes(b"a picture")
    return folder


def ask(posts: Path, out: Path, *command: str, **settings: object) -> dict[str, object]:
    config = NlConfig(posts="p", command=command, folder=str(posts), **settings)  # type: ignore[arg-type]
    return run(config, Job(out=out, inputs={"posts": {"p": posts}}))


def program(folder: Path, body: str) -> tuple[str, ...]:
    """Write a program that has `asked`, every request, and `say`."""
    path = folder / "program.py"
    begin = "import json, sys, os, time\nasked = [json.loads(line) for line in sys.stdin]\n"
    begin += "def say(post, text):\n    print(json.dumps({'post': post, 'text': text}), flush=True)\n"
    path.write_text(begin + textwrap.dedent(body))
    return sys.executable, str(path)


def rows(path: Path) -> list[dict[str, object]]:
    return pl.read_parquet(path).to_dicts()


def test_the_example_s_sentences_reach_the_captions(posts: Path, tmp_path: Path) -> None:
    summary = ask(posts, tmp_path / "nl", sys.executable, str(EXAMPLE), batch=2)
    assert summary == {"posts": 6, "texts": 5, "faults": {"missing": 1}}
    sets = {"all": CaptionSet(order=("text", "|||", "artist"))}
    config = CaptionsConfig(posts="p", nl="n", sets=sets)
    inputs = {"posts": {"p": posts}, "nl": {"n": tmp_path / "nl"}}
    run_captions(config, Job(out=tmp_path / "captions", inputs=inputs))
    said = reader(tmp_path / "captions", 0)
    assert said.plain(1, "all").startswith("This is a picture of ")
    assert "highres and commentary request., some one" in said.plain(1, "all")
    assert said.plain(6, "all") == "some one"


def test_what_it_is_asked_is_what_was_published(posts: Path, tmp_path: Path) -> None:
    command = program(tmp_path, f"json.dump(asked, open({str(tmp_path / 'asked')!r}, 'w')); say(1, 'A girl is here.')")
    ask(posts, tmp_path / "nl", *command)
    asked = json.loads((tmp_path / "asked").read_text())
    assert [fault(one, published("request")) for one in asked] == [""] * 5
    assert [Path(one["path"]).read_bytes() for one in asked] == [b"a picture"] * 5
    assert (
        fault({"post": 1, "path": "a", "tags": [1]}, published("request")) == "an entry of tags is not of type string"
    )


def test_every_bad_answer_is_listed_and_the_rest_goes_on(
    posts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = """
    say(1, "A girl smiles at the sea.")
    say(1, "A girl smiles at the sea, again.")
    say(99, "Nobody asked about this.")
    say(2, "1girl, solo, blue hair, smile")
    say(3, '{"caption": "A girl')
    say(4, "It is a long story. " * 200)
    print('{"post": 5}')
    print("Loading the model ...")
    print(json.dumps({"post": True, "text": "It is true."}))
    print('{"post": 5, "text": "A girl is here.", "score": 1}')
    print()
    sys.stdout.buffer.write(b"\\xff\\xfe\\n")
    """
    summary = ask(posts, tmp_path / "nl", *program(tmp_path, body))
    assert summary["texts"] == 1
    assert summary["faults"] == {
        "broken JSON": 1,
        "missing": 1,
        "no JSON": 2,
        "no answer": 1,
        "not by the schema": 3,
        "of a post that was not asked about, or twice": 2,
        "tags": 1,
        "too long": 1,
    }
    assert main(["captions", "texts", str(tmp_path / "nl")]) == 0
    said = capsys.readouterr().out
    assert "post 2: tags: 1girl, solo, blue hair, smile\n" in said
    assert "post 6: missing\n" in said
    assert "no post: no JSON: Loading the model ...\n" in said
    listed = rows(tmp_path / "nl" / "faults.parquet")
    assert {"post": 2, "fault": "tags", "text": "1girl, solo, blue hair, smile"} in listed
    assert {"not by the schema: text is missing", "not by the schema: 'score' is not in the schema"} <= {
        row["fault"] for row in listed
    }
    assert rows(tmp_path / "nl" / "texts.parquet") == [{"id": 1, "caption": "A girl smiles at the sea."}]


def test_half_a_letter_is_no_trouble() -> None:
    assert (
        parsed(b'{"post": 1, "text": "A cat \\ud83d\\ude00 sits. A \\ud800 cat."}', {1}).text
        == "A cat 😀 sits. A \ufffd cat."
    )
    assert parsed(b"[" * 100_000, {1}).fault == "no JSON"


def test_a_program_that_dies_of_one_picture_goes_on_with_the_next_batch(posts: Path, tmp_path: Path) -> None:
    body = """
    for one in asked:
        if one["post"] == 2:
            sys.exit("out of memory")
        say(one["post"], "A girl is here.")
    """
    summary = ask(posts, tmp_path / "nl", *program(tmp_path, body), batch=3)
    assert summary == {"posts": 6, "texts": 3, "faults": {"missing": 1, "no answer": 2}}
    assert "out of memory" in str(rows(tmp_path / "nl" / "faults.parquet")[0]["fault"])


@pytest.mark.parametrize(
    ("body", "why"),
    [("sys.exit('no such model')", "status 1; its last words: no such model"), ("time.sleep(60)", "nothing for 0.5 s")],
)
def test_a_program_that_never_answers_ends_the_stage(posts: Path, tmp_path: Path, body: str, why: str) -> None:
    with pytest.raises(Failed, match=why):
        ask(posts, tmp_path / "nl", *program(tmp_path, body), patience=0.5)
    assert ask(posts, tmp_path / "nl", sys.executable, str(EXAMPLE))["texts"] == 5


def test_a_program_that_is_not_there_is_refused(posts: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no program 'describe-it'"):
        ask(posts, tmp_path / "nl", "describe-it")
    with pytest.raises(Refused, match="command"):
        NlConfig(posts="p", command=())
    with pytest.raises(Refused, match="one of them"):
        CaptionsConfig(posts="p", nl="n", texts="t.jsonl")


def test_a_shell_sees_nothing(posts: Path, tmp_path: Path) -> None:
    ask(posts, tmp_path / "nl", sys.executable, str(EXAMPLE), f"; touch {tmp_path / 'seen'}", "$(id)")
    assert not (tmp_path / "seen").exists()


def test_answers_given_before_a_kill_are_not_asked_for_again(posts: Path, tmp_path: Path) -> None:
    """The stage is killed while the program thinks about the third picture; the next run asks about the rest."""
    noted = tmp_path / "noted"
    body = f"""
    for one in asked:
        if one["post"] == 3 and not os.path.exists({str(noted)!r}):
            time.sleep(60)
        print(one["post"], file=open({str(noted)!r} + str(one["post"]), "a"))
        say(one["post"], "A girl is here.")
    """
    command = program(tmp_path, body)
    out, journal = tmp_path / "nl", tmp_path / "nl" / "answers.jsonl"
    code = (
        "from pathlib import Path; from enogu.captions.nl.config import NlConfig;"
        "from enogu.core.records.job import Job;"
        "from enogu.captions.nl.stage import run;"
        f"run(NlConfig(posts='p', command={command!r}, folder={str(posts)!r}),"
        f"Job(out=Path({str(out)!r}), inputs={{'posts': {{'p': Path({str(posts)!r})}}}}))"
    )
    stage = subprocess.Popen([sys.executable, "-c", code])
    while not journal.exists() or journal.read_bytes().count(b"\n") < 3:  # two answers and the missing picture
        assert stage.poll() is None
        time.sleep(0.02)
    os.kill(stage.pid, signal.SIGKILL)
    stage.wait()
    with journal.open("ab") as handle:
        handle.write(b'{"post": 4, "te')  # half a line, as a power cut leaves it
    noted.touch()
    assert ask(posts, out, *command) == {"posts": 6, "texts": 5, "faults": {"missing": 1}}
    for number in range(1, 6):
        assert Path(f"{noted}{number}").read_text().split() == [str(number)]
    assert ask(posts, out, *command)["texts"] == 5  # killed between its last file and the end: nobody is asked again
    assert Path(f"{noted}1").read_text().split() == ["1"]
