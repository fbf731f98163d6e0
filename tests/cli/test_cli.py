"""The command line: exit statuses, one line per mistake, no traceback."""

import errno
import io
import os
import subprocess
import sys
import termios
import tomllib
from pathlib import Path
from unittest.mock import Mock

import pytest

import enogu.cli
from enogu.cli import main
from enogu.cli.console import Console, remarks
from enogu.cli.demo import RECIPE, TIMES, learnt
from enogu.cli.plan import shown
from enogu.cli.progress import ProgressLine, duration, pace_text
from enogu.cli.schedule import Schedule
from enogu.cli.table import table
from enogu.core.records.errors import Failed, Refused
from enogu.recipe.done import Done
from enogu.recipe.plan import plan
from enogu.recipe.reading import read
from tests import pretend

ROOT = Path(__file__).parents[2]


def test_help_lists_the_verbs_that_there_are(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"\n  {verb}" in said for verb in ("demo", "plan", "run", "train"))
    assert main([]) == 2


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"enogu {enogu.__version__}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("--version >&-", 0, ""),
        ("--version >/dev/full", 1, "No space left on device\n"),
        ("plan none.toml 2>&-", 2, ""),
    ],
)
def test_an_output_that_takes_nothing(line, status, said):
    line = f"{sys.executable} -m enogu {line}"
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}  # as in a shell: what is printed fails when it is flushed
    ended = subprocess.run(line, shell=True, capture_output=True, text=True, cwd=ROOT / "src", env=buffered)
    assert (ended.returncode, ended.stderr.removeprefix("enogu: ")) == (status, said)


def test_an_output_that_does_not_know_a_letter():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    code = "import sys; from enogu.cli import main; sys.exit(main(['--version']) or print(sys.argv[1]))"
    said = subprocess.run(
        [sys.executable, "-c", code, "絵.safetensors"], env=environment, capture_output=True, cwd=ROOT / "src"
    )
    assert said.stdout.splitlines()[1] == rb"\u7d75.safetensors"


def test_an_unknown_verb(capsys):
    assert main(["pla"]) == 2
    assert capsys.readouterr().err == "enogu: unknown verb 'pla'; did you mean 'plan'?\n"


@pytest.mark.parametrize(("error", "status"), [(Refused("one\ntwo"), 2), (Failed("three"), 1)])
def test_errors_of_ours_are_lines_and_a_status(error, status, capsys, monkeypatch):
    monkeypatch.setattr("enogu.cli.plan.run", Mock(side_effect=error))
    assert main(["plan", "x.toml"]) == status
    assert capsys.readouterr().err == "".join(f"enogu: {line}\n" for line in str(error).splitlines())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError("Unable to allocate 1 EiB"), "out of memory: Unable to allocate 1 EiB"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory: DefaultCPU"),
        (RuntimeError("File too large (os error 27)"), "out of disk: File too large"),
        (OSError(errno.ENOSPC, "No space left on device", "a.png"), "a.png: No space left on device"),
    ],
)
def test_a_machine_that_has_run_out_is_a_line(error, said, capsys, monkeypatch):
    monkeypatch.setattr("enogu.cli.plan.run", Mock(side_effect=error))
    assert main(["plan", "x.toml"]) == 1
    assert capsys.readouterr().err.startswith(f"enogu: {said}")


def test_a_fault_of_ours_is_not_hidden(monkeypatch):
    monkeypatch.setattr("enogu.cli.plan.run", Mock(side_effect=KeyError("x")))
    with pytest.raises(KeyError):
        main(["plan", "x.toml"])


def test_an_error_in_a_recipe_is_refused_before_any_work(tmp_path, capsys):
    path = tmp_path / "r.toml"
    path.write_text('[recipe]\nname = "r"\nsead = 3\n[booru.new]\nposts = "many"\n')
    for verb in (["plan", str(path)], ["run", str(path)], ["train", str(path), "tuned"]):
        assert main(verb) == 2
        assert capsys.readouterr().err.splitlines() == [
            "enogu: r.toml: recipe: unknown key 'sead'; did you mean 'seed'?",
            "enogu: r.toml: booru.new.posts: expected a whole number, got 'many'",
        ]
    assert list(tmp_path.iterdir()) == [path]


def test_run_and_plan_a_recipe(tmp_path, capsys):
    path = tmp_path / "r.toml"
    path.write_text('[recipe]\nname = "r"\n[machine]\nthreads = 1\n[booru.new]\nposts = 4\nlong_side = [64, 64]\n')
    assert main(["plan", str(path)]) == 0
    before = capsys.readouterr().out
    assert "booru.new  to do         4" in before
    assert "to run: 1 of 1; never timed here: 1" in before
    assert main(["run", str(path), "new"]) == 0
    assert "booru.new: done in " in capsys.readouterr().err
    assert main(["run", str(path)]) == 0
    assert "booru.new: done before, in " in capsys.readouterr().err
    assert main(["plan", str(path)]) == 0
    assert "to run: 0 of 1\n" in capsys.readouterr().out
    assert main(["plan", str(path), "--set", "booru.new.posts=8"]) == 0
    assert "to run: 1 of 1: " in capsys.readouterr().out
    assert main(["run", str(path), "old"]) == 2
    assert capsys.readouterr().err == "enogu: unknown stage 'old'; known: booru.new\n"


def test_a_plan_tells_what_reads_what(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('[recipe]\nname = "r"\n[draw.a]\ncount = 5\n[read.r]\ndrawings = "a"\n')
    text = shown(plan(read(path, kinds=pretend.KINDS)), {})
    assert [line.split() for line in text.splitlines()[2:4]] == [
        ["draw.a", "to", "do"],
        ["read.r", "to", "do", "draw.a"],
    ]
    assert text.endswith(f"in {tmp_path / 'enogu-work' / 'r'}")


def test_the_end_of_a_stage_tells_its_notes_its_warnings_and_what_was_skipped(capsys):
    summary = {
        "posts": 1200,
        "notes": ["no post has 'smlie'"],
        "warnings": [f"{number} is idle" for number in range(7)],
        "skipped": {"empty": 2, "missing": 1000},
    }
    record = {"id": "posts.a", "kind": "posts", "name": "a", "hash": "", "seconds": 3.0, "started": ""}
    Console(Schedule({})).ends(Done(**record, summary=summary, inputs={}, settings={}, outputs={}))
    assert capsys.readouterr().err.splitlines() == [
        "posts.a: done in 3.0 s (posts 1,200)",
        "posts.a: note: no post has 'smlie'",
        *(f"posts.a: warning: {number} is idle" for number in range(5)),
        "posts.a: and 2 more warnings",
        "posts.a: skipped 1,002: missing 1,000, empty 2",
    ]
    assert list(remarks({"notes": [], "warnings": [], "skipped": {}})) == []


def test_what_was_learnt_is_a_table():
    one = {"name": "recall", "model": "base", "mean": 0.1, "spread": 0.02}
    two = {"name": "recall", "model": "tuned", "mean": 0.834, "spread": 0.011}
    measures = {
        "models": ["base", "tuned"],
        "measures": [one, two],
        "ceiling": {"recall": 0.95},
        "verdicts": ["better"],
    }
    assert learnt(measures).splitlines() == [
        "               base        tuned  ceiling",
        "-----------------------------------------",
        "recall  0.10 ± 0.02  0.83 ± 0.01     0.95",
        "",
        "better",
    ]


def test_a_table_is_laid_out_by_its_widest_cells():
    assert table([["", "bb"], ["aaa", "c"]], "<>") == "     bb\n-------\naaa   c"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")


def progress(stream, after=None):
    """Return a progress line and the clock that it reads, in seconds."""
    now = [0.0]
    return ProgressLine("[1/2] train.a", stream, after=after, clock=lambda: now[0]), now


def test_a_terminal_shows_one_line_with_rate_and_time_left():
    line, now = progress(stream := Terminal())
    for second in range(11):
        now[0] = float(second)
        line(second * 20, 1000, "images")
    assert stream.getvalue().split("\r\x1b[K")[-1] == "[1/2] train.a: 200 of 1,000 images, 20/s, 40 s left"
    assert "\n" not in stream.getvalue()
    line.clear()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_bytes_are_told_in_millions():
    line, now = progress(stream := Terminal())
    for second in range(11):
        now[0] = float(second)
        line(second * 277_000_000, 6_937_675_736, "bytes")
    assert stream.getvalue().split("\r\x1b[K")[-1] == "[1/2] train.a: 2,770 of 6,937 MB, 277/s, 15 s left"


def test_a_narrow_terminal_shows_what_fits():
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 40))
    with open(theirs, "w", encoding="utf-8") as terminal:
        line, now = progress(terminal, after=100.0)
        now[0] = 10.0
        line(50, 100, "images of a long name")
    assert os.read(ours, 1000).decode() == "\r\x1b[K[1/2] train.a: 50 of 100 images of a lo"


def test_a_dumb_terminal_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    line, now = progress(stream := Terminal())
    now[0] = 10.0
    line(50, 100, "images")
    assert stream.getvalue() == "[1/2] train.a: 50 of 100 images\n"


def test_a_log_gets_a_line_every_ten_seconds():
    line, now = progress(stream := io.StringIO())
    for second in range(61):
        now[0] = float(second)
        line(second, 120, "images")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 6
    assert lines[-1] == "[1/2] train.a: 60 of 120 images, 1/s, 1 min 00 s left"


def test_the_rate_counts_from_where_a_resumed_run_starts():
    line, now = progress(stream := Terminal())
    line(900, 1000, "images")
    now[0] = 10.0
    line(950, 1000, "images")
    assert stream.getvalue().endswith("950 of 1,000 images, 5/s, 10 s left")


def test_what_follows_is_added_to_the_time_left():
    line, now = progress(stream := Terminal(), after=100.0)
    line(0, 100, "images")
    now[0] = 10.0
    line(50, 100, "images")
    assert stream.getvalue().endswith("50 of 100 images, 5/s, 10 s left (1 min 50 s for all)")


def test_a_schedule_learns_how_slow_this_machine_is():
    schedule = Schedule({"a": 10.0, "b": 20.0, "c": 30.0})
    assert schedule.left(["a", "b", "c"]) == 60.0
    schedule.ended("a", 25.0)
    assert schedule.left(["b", "c"]) == 125.0
    schedule.ended("unheard", 1000.0)
    assert schedule.left(["c"]) == 75.0
    assert schedule.left([]) == 0.0
    assert schedule.left(["c", "never timed"]) is None


def test_a_moment_of_work_says_nothing_about_the_machine():
    schedule = Schedule({"a": 1.0, "b": 20.0})
    schedule.ended("a", 9.0)
    assert schedule.left(["b"]) == 20.0


def test_the_demo_has_a_usual_time_for_every_stage():
    assert set(tomllib.loads(TIMES.read_text())) == set(read(RECIPE).stages)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["posts", "duplicates", "x", "--top", "-1"], "argument --top: '-1' is not a whole number from 1 on"),
        (["posts", "duplicates", "x", "--distance=-3"], "argument --distance: '-3' is not a whole number from 0 on"),
        (["posts", "stats", "x", "--top", "2.5"], "argument --top: '2.5' is not a whole number from 1 on"),
        (
            ["inspect", "x", "--verify", "y", "--sample", "-2"],
            "argument --sample: '-2' is not a whole number from 0 on",
        ),
    ],
)
def test_a_count_that_is_none_is_refused(given, said, capsys):
    assert main(given) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.9, "9.9 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599.7, "1 h 00 min"),
        (90000, "25 h 00 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_slow_rates_are_told_per_minute():
    assert (pace_text(123.4), pace_text(0.05)) == ("123/s", "3/min")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["merge", "a", "--dtpye", "fp16"], "unknown option '--dtpye'; did you mean '--dtype'?"),
        (["posts", "stats", "x", "--tpo=3"], "unknown option '--tpo'; did you mean '--top'?"),
        (["posts", "stat"], "argument {count,opt-out,stats,duplicates,show}: invalid choice: 'stat' (choose from"),
        (["merge", "a", "--seed", "x"], "argument --seed: invalid int value: 'x'; see enogu merge --help"),
        (["plan"], "the following arguments are required: RECIPE; see enogu plan --help"),
        (["run"], "the following arguments are required: RECIPE; see enogu run --help"),
        (["plan", "a", "b"], "unrecognized arguments: b; see enogu plan --help"),
    ],
)
def test_a_slip_of_the_keyboard_is_one_line(given, said, capsys):
    assert main(given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"enogu: {said}")
