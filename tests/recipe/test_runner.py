"""A run goes on where it was stopped, does nothing twice, and writes down what it did."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from enogu.core.records.errors import Failed
from enogu.recipe.forecast import forecast
from enogu.recipe.ledger import rows
from enogu.recipe.plan import plan
from enogu.recipe.runner import run
from tests import pretend

TEXT = """
[models]
m = { file = "m.safetensors" }
[draw.a]
[read.r]
drawings = "a"
[bake.b]
start = "m"
[blend.c]
formula = "m + b"
[look.l]
models = ["m", "b", "c", "b@64"]
[page.p]
title = "all"
"""
PROGRAM = """
import sys
from pathlib import Path
import enogu.cli.run
from enogu.cli.run import execute
from tests import pretend
enogu.cli.run.machine = lambda config: ("cpu", 1)  # does without PyTorch
from enogu.recipe.plan import plan
from enogu.recipe.reading import read
sys.exit(execute(plan(read(Path(sys.argv[1]), settings=sys.argv[2:], kinds=pretend.KINDS)), []))
"""


class Notes:
    """A watch that writes down what it is told."""

    def __init__(self):
        self.told = []

    def kept(self, done):
        self.told.append(("kept", done.id))

    def begins(self, task, todo):
        self.told.append(("begins", task.stage.id, todo))
        return lambda done, total, what: None

    def waits(self, task, owner):
        self.told.append(("waits", task.stage.id, owner))

    def ends(self, done):
        self.told.append(("ends", done.id))


@pytest.fixture(autouse=True)
def model(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(b"m")


def go(found, *stages):
    notes = Notes()
    run(found, stages, watch=notes, device="cpu", threads=1)
    return notes.told


def summary(found, id):
    return found.tasks[id].done().summary


def program(tmp_path, *settings, **environment):
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "src")]), **environment}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "recipe.toml"), *settings]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_every_stage_is_given_what_it_reads(recipe, tmp_path):
    found = plan(recipe(TEXT))
    go(found)
    folders = {id: task.folder for id, task in found.tasks.items()}
    assert summary(found, "read.r") == {"read": 3, "folder": str(folders["draw.a"])}
    assert summary(found, "bake.b") == {"start": str(tmp_path / "m.safetensors")}
    assert summary(found, "blend.c") == {"lent": pretend.LENT, "models": ["m", "b"]}
    assert summary(found, "look.l") == {"models": {"m": "m", "b": "m+", "c": "mm+", "b@64": "64"}}
    assert summary(found, "page.p")["stages"] == [id for id in recipe(TEXT).stages if id != "page.p"]
    assert all(summary(found, "page.p")["done"])


def test_what_is_done_is_kept(recipe):
    go(plan(recipe(TEXT)))
    assert {event for event, *_ in go(plan(recipe(TEXT)))} == {"kept"}
    told = go(plan(recipe(TEXT.replace('title = "all"', 'title = "other"'))))
    assert [event for event in told if event[0] != "kept"] == [("begins", "page.p", ("page.p",)), ("ends", "page.p")]


def test_a_stage_alone_is_run_with_what_it_stands_on(recipe):
    found = plan(recipe(TEXT))
    assert [id for event, id, *_ in go(found, "r") if event == "ends"] == ["draw.a", "read.r"]
    assert go(found, "r") == [("kept", "read.r")]
    assert found.tasks["bake.b"].done() is None


def test_the_record_of_a_run(recipe):
    found = plan(recipe(TEXT))
    go(found, "read.r")
    done = json.loads((found.tasks["read.r"].folder / "done.json").read_text())
    assert {name: done[name] for name in ("id", "kind", "name", "settings")} == {
        "id": "read.r",
        "kind": "read",
        "name": "r",
        "settings": {},
    }
    assert done["inputs"] == {"drawings": {"a": found.tasks["draw.a"].hash}}
    first, second = rows(found.work / "ledger.jsonl")
    assert [(row["id"], row["ended"], row["hash"]) for row in (first, second)] == [
        ("draw.a", "done", found.tasks["draw.a"].hash),
        ("read.r", "done", found.tasks["read.r"].hash),
    ]
    assert set(first["outputs"]) == {"0.txt", "1.txt", "2.txt"}
    assert first["outputs"]["0.txt"] == {"bytes": 3, "sha256": hashlib.sha256(b"0 0").hexdigest()}
    assert first["machine"]["python"] == sys.version.split()[0]
    assert first["machine"]["peak_memory_bytes"] > 1_000_000
    assert second["inputs"] == done["inputs"]


def test_a_torn_last_line_of_the_ledger_is_passed_over(recipe):
    found = plan(recipe(TEXT))
    go(found, "draw.a")
    with (found.work / "ledger.jsonl").open("a") as ledger:
        ledger.write('{"id": "dra')
    assert len(rows(found.work / "ledger.jsonl")) == 1


@pytest.mark.parametrize(
    "harm", ["no record", "half a record", "another hash", "an output gone", "an output cut short"]
)
def test_a_folder_that_is_not_whole_is_done_again(recipe, harm):
    found = plan(recipe("[draw.a]"))
    go(found)
    folder = found.tasks["draw.a"].folder
    record = folder / "done.json"
    if harm == "no record":
        record.unlink()
    elif harm == "half a record":
        record.write_text(record.read_text()[:40])
    elif harm == "another hash":
        record.write_text(record.read_text().replace(found.tasks["draw.a"].hash, "0" * 16))
    elif harm == "an output gone":
        (folder / "1.txt").unlink()
    else:
        (folder / "1.txt").write_text("")
    assert ("ends", "draw.a") in go(found)
    assert found.tasks["draw.a"].done()
    assert (folder / "1.txt").exists()


def test_a_killed_run_goes_on(recipe, tmp_path):
    found = plan(recipe("[draw.a]\ncount = 4\ntrouble = 'kill 2'"))
    assert program(tmp_path).wait() == -signal.SIGKILL
    assert [one.state for one in forecast(found)] == ["begun"]
    assert found.tasks["draw.a"].done() is None
    again = program(tmp_path, SPARED="1")
    assert again.wait() == 0, again.stderr.read()
    assert [line.split()[1] for line in (found.work / "log").read_text().splitlines()] == ["0", "1", "2", "3"]


def test_an_interrupted_run_says_how_to_go_on(recipe, tmp_path):
    found = plan(recipe("[draw.a]\ntrouble = 'stop 1'"))
    stopped = program(tmp_path)
    said = stopped.communicate()[1]
    assert stopped.returncode == 130
    assert f"stopped; what is done is kept in {found.work}: the same command goes on" in said
    assert "Traceback" not in said
    assert [row["ended"] for row in rows(found.work / "ledger.jsonl")] == ["KeyboardInterrupt"]
    assert program(tmp_path, SPARED="1").wait() == 0
    assert [line.split()[1] for line in (found.work / "log").read_text().splitlines()] == ["0", "1", "2"]


def test_two_runs_share_the_work(recipe, tmp_path):
    found = plan(recipe("[draw.a]\ncount = 3\npatience = 0.3"))
    both = [program(tmp_path), program(tmp_path)]
    said = [one.communicate()[1] for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert len((found.work / "log").read_text().splitlines()) == 3  # each drawing once
    assert sum("is running it; waiting for it to end" in text for text in said) <= 1
    assert sum("draw.a: done in" in text for text in said) == 1


def test_a_run_waits_for_the_owner_of_a_stage(recipe, tmp_path):
    found = plan(recipe("[draw.a]\ncount = 2\npatience = 0.5"))
    other = program(tmp_path)
    while not list(found.work.glob("draw-a-*")):
        time.sleep(0.01)
    told = go(found)
    assert told == [("waits", "draw.a", str(other.pid)), ("kept", "draw.a")]
    assert other.wait() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_is_told_as_such(recipe):
    found = plan(recipe("[draw.a]\ntrouble = 'full 1'"))
    with pytest.raises(Failed, match=r"draw\.a: the disk under .* is full.*; make room and run the same command"):
        go(found)
    assert [row["ended"] for row in rows(found.work / "ledger.jsonl")] == ["OSError"]
    found = plan(recipe("[draw.a]"))
    assert ("ends", "draw.a") in go(found)


def test_too_little_memory_is_told_as_such(recipe):
    with pytest.raises(Failed, match=r"draw\.a: out of memory: .*; try a smaller batch, or smaller pictures"):
        go(plan(recipe("[draw.a]\ntrouble = 'memory 1'")))


def test_a_checkpoint_that_was_not_kept(recipe):
    found = plan(recipe(TEXT.replace("b@64", "b@65")))
    with pytest.raises(Failed, match="no checkpoint after 65 images; there are 64"):
        go(found)


def test_times_are_foretold_from_the_ledger(recipe):
    found = plan(recipe("[draw.a]\npatience = 0.02"))
    go(found)
    (before,) = forecast(found)
    assert (before.state, before.images) == ("done", 3)
    assert before.seconds == found.tasks["draw.a"].done().seconds
