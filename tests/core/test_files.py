"""Atomic files: whole or not there, and what killed writes left goes."""

import os
import subprocess
import sys
from subprocess import PIPE

import pytest

from enogu.core.records.files import (
    atomic_path,
    held,
    is_being_written,
    read_json,
    sweep,
    sweep_beside,
    sweep_dead,
    write_json,
)


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "deep" / "file"
    with atomic_path(path) as part:
        part.write_text("old")
    with pytest.raises(UnicodeEncodeError), atomic_path(path) as part:
        part.write_text("\ud800", "utf-8")  # fails when the file is open
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_json_keeps_paths_that_are_no_text(tmp_path):
    value = {"path": os.fsdecode(b"b\xff\xe9.safetensors"), "artist": "絵具"}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "絵具" in (tmp_path / "a.json").read_text("utf-8")


def test_sweeping_takes_files_and_folders_of_killed_writes_alone(tmp_path):
    kept = [tmp_path / ".hidden", tmp_path / "a.part", tmp_path / "deep" / "a.txt"]
    left = [
        tmp_path / ".a.0123abcd.part",
        tmp_path / "deep" / ".b.db.0123abcd.part-journal",
        tmp_path / "deep" / ".folder.0123abcd.part" / "unet" / ".c.89abcdef.part",
    ]
    for path in [*kept, *left]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    sweep(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
    assert not (tmp_path / "deep" / ".folder.0123abcd.part").exists()


def test_sweeping_beside_a_file_takes_what_killed_writes_of_it_left(tmp_path):
    kept = [tmp_path / name for name in ("a[1].json", ".b.json.0123abcd.part", ".a[1].json.part")]
    for path in [*kept, tmp_path / ".a[1].json.0123abcd.part"]:
        path.write_text("")
    sweep_beside(tmp_path / "a[1].json")
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_sweeping_the_dead_spares_what_another_process_is_writing(tmp_path):
    path, dead = tmp_path / "a", tmp_path / ".a.0123abcd.part"
    wait = "import sys; from pathlib import Path; from enogu.core.records.files import *\n"
    wait += "with atomic_path(Path(sys.argv[1]), hold=True) as part: print(flush=True); part.write_text(input())"
    with subprocess.Popen([sys.executable, "-c", wait, path], stdin=PIPE, stdout=PIPE, text=True) as other:
        other.stdout.readline()
        (alive,) = tmp_path.iterdir()
        dead.write_text("half")
        assert is_being_written(path)
        sweep_dead(path)
        assert list(tmp_path.iterdir()) == [alive]
        other.communicate("whole\n")
    assert path.read_text() == "whole"
    with subprocess.Popen([sys.executable, "-c", wait, path], stdin=PIPE, stdout=PIPE, text=True) as other:
        other.stdout.readline()
        other.kill()
    assert len(list(tmp_path.iterdir())) == 2
    assert not is_being_written(path)
    sweep_dead(path)
    assert list(tmp_path.iterdir()) == [path]


def test_sweeping_the_dead_spares_a_folder_that_is_held(tmp_path):
    alive, dead = tmp_path / ".a.0123abcd.part", tmp_path / ".a.4567abcd.part"
    for folder in (alive, dead):
        (folder / "unet").mkdir(parents=True)
    with held(alive):
        sweep_dead(tmp_path / "a")
        assert list(tmp_path.iterdir()) == [alive]
    sweep_dead(tmp_path / "a")
    assert not list(tmp_path.iterdir())
