"""Before a run: what is done, what is foretold, what a maker should know."""

import os
from datetime import datetime

import pytest

from enogu.recipe.cautions import cautions
from enogu.recipe.done import Done, write_done
from enogu.recipe.forecast import forecast
from enogu.recipe.kinds import KINDS
from enogu.recipe.ledger import append
from enogu.recipe.plan import plan
from enogu.recipe.reading import read

BOORU = '[recipe]\nname = "r"\n[booru.a]\nposts = 300\n[posts.b]\nbooru = "a"\n[captions.c]\nposts = "b"\n'


def foretold(tmp_path, *runs):
    """Return the forecast of a small real recipe after runs written to its ledger as (id, ended, images, seconds)."""
    path = tmp_path / "r.toml"
    path.write_text(BOORU)
    found = plan(read(path, kinds=KINDS))
    found.work.mkdir(parents=True)
    for id, ended, images, seconds in runs:
        append(found.work / "ledger.jsonl", {"id": id, "ended": ended, "images": images, "seconds": seconds})
    return {one.id: one for one in forecast(found)}


def test_pictures_are_counted_down_the_graph(tmp_path):
    assert [(one.state, one.images, one.seconds) for one in foretold(tmp_path).values()] == [("to do", 300, None)] * 3


def test_times_come_from_the_median_of_finished_runs(tmp_path):
    runs = [("booru.x", "done", 100, 10), ("booru.y", "done", 100, 40), ("booru.y", "done", 50, 10)]
    lost = [("booru.x", "KeyboardInterrupt", 100, 0), ("captions.c", "done", None, 7)]
    times = foretold(tmp_path, *runs, *lost)
    assert {id: one.seconds for id, one in times.items()} == {"booru.a": 60.0, "posts.b": None, "captions.c": None}


def trained(tmp_path, phases, start="mini"):
    """Return what is foretold of a training on 150 posts."""
    path = tmp_path / "r.toml"
    path.write_text(
        BOORU.replace("300", "150")
        + '[models]\nmini = "mini-sd1"\n[latents.l]\nposts = "b"\nmodel = "mini"\n[train.s]\n'
        + 'start = "mini"\nlatents = ["l"]\ncaptions = "c"\nphases = [{ images = 1000, lr = { unet = 1e-4 } }]\n'
        + f'[train.t]\nstart = "{start}"\nlatents = ["l"]\ncaptions = "c"\nvalidation = 64\nphases = [{phases}]\n'
    )
    found = plan(read(path, kinds=KINDS))
    return found, next(one for one in forecast(found) if one.id == "train.t")


@pytest.mark.parametrize(
    ("phases", "images", "steps"),
    [
        ("{ epochs = 10, lr = { unet = 1e-4 } }", 864, 54),  # 150 posts, 64 of them held out; whole batches of 16
        ("{ epochs = 10, batch = 4, lr = { unet = 1e-4 } }", 860, 215),
        ("{ images = 1500, lr = { unet = 1e-4 } }, { epochs = 0.01, lr = { unet = 1e-4 } }", 1520, 95),
    ],
)
@pytest.mark.parametrize("start", ["mini", "s"])
def test_a_training_is_foretold_as_the_loop_will_count_it(tmp_path, phases, images, steps, start):
    told = trained(tmp_path, phases, start)[1]
    assert (told.images, told.steps) == (images, steps)


def test_a_finished_training_tells_what_it_was(tmp_path):
    phases = "{ epochs = 10, lr = { unet = 1e-4 } }"
    task = trained(tmp_path, phases)[0].tasks["train.t"]
    record = {"id": "train.t", "kind": "train", "name": "t", "hash": task.hash, "seconds": 1.0, "started": ""}
    task.folder.mkdir(parents=True)
    summary = {"images": 832, "updates": 52, "pictures": {"l": 83}}
    write_done(task.folder, Done(**record, summary=summary, inputs={}, settings={}, outputs={}))
    told = trained(tmp_path, phases)[1]
    assert (told.state, told.images, told.steps) == ("done", 832, 52)


def test_pictures_that_were_trained_on_are_not_held_out(recipe, tmp_path):
    (tmp_path / "m.safetensors").write_bytes(b"m")
    text = """
        [models]
        m = { file = "m.safetensors" }
        [draw.a]
        [draw.b]
        [bake.t]
        start = "m"
        phases = [{ rate = 1.0, drawings = "a" }]
        [look.l]
        models = ["t"]
        heldout = "%s"
    """
    assert cautions(plan(recipe(text % "b"))) == []
    told = "look.l: draw.a is held out here, but models that are judged were trained on it"
    assert cautions(plan(recipe(text % "a"))) == [told]


def test_programs_that_would_be_run_are_named(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text(BOORU + '[nl.n]\nposts = "b"\ncommand = ["python", "my describe.py"]\n')
    assert cautions(plan(read(path, kinds=KINDS))) == ["nl.n: runs the program python 'my describe.py'"]


def test_folders_of_other_settings_are_counted(recipe):
    found = plan(recipe("[draw.a]"))
    (found.work / "draw-a-00000000").mkdir(parents=True)
    (found.work / "draw-a-00000000" / "0.txt").write_bytes(b"x" * 3_000_000)
    (found.work / ".locks").mkdir()
    assert cautions(found) == ["3 MB lie in folders of other settings (earlier ones, --mini, --set)"]


def test_a_folder_that_changed_since_it_was_read_is_told(tmp_path):
    (tmp_path / "pictures").mkdir()
    path = tmp_path / "r.toml"
    path.write_text('[recipe]\nname = "r"\n[posts.p]\nsource = "pictures"\n')
    task = plan(read(path, kinds=KINDS)).tasks["posts.p"]
    task.folder.mkdir(parents=True)
    record = {"id": "posts.p", "kind": "posts", "name": "p", "hash": task.hash, "seconds": 1.0}
    started = "2026-01-01T00:00:00+00:00"
    write_done(task.folder, Done(**record, started=started, summary={}, inputs={}, settings={}, outputs={}))
    times = (datetime.fromisoformat(f"2025-12-{day}T00:00:00+00:00").timestamp() for day in (30, 31))
    os.utime(tmp_path / "pictures", tuple(times))
    assert cautions(plan(read(path, kinds=KINDS))) == []
    (tmp_path / "pictures" / "new.png").write_bytes(b"")
    (told,) = cautions(plan(read(path, kinds=KINDS)))
    assert told.startswith(f"posts.p: files came to {tmp_path / 'pictures'} or went since it was read")
