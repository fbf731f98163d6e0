"""A recipe with every kind of stage, an undisturbed run of it, and processes that die when told to."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
KILL, STOP = signal.SIGKILL, signal.SIGINT
RECIPE = """
[recipe]
name = "tiny"
family = "pico"
seed = 3
[machine]
device = "cpu"
threads = 1
[booru.b]
posts = 12
long_side = [64, 96]
[posts.p]
booru = "b"
where = { rating = ["general", "sensitive", "questionable", "explicit"] }
[captions.c]
posts = "p"
[vae.v]
pictures = 4
images = 12
batch = 4
[latents.l]
posts = "p"
model = "v"
area = 1024
step = 16
batch = 4
[train.t]
start = "v"
latents = ["l"]
captions = "c"
batch = 4
validation = 4
ema_images = 16
checkpoint_images = 8
state_images = 8
precision = "fp32"
phases = [
  { name = "low", images = 12, lr = { unet = 1e-3, te = 1e-3 } },
  { name = "short", captions = "short", images = 12, lr = { unet = 1e-3 }, schedule = "cosine" },
]
[merge.half]
formula = "0.5*v + 0.5*t"
[grid.g]
models = ["v", "half"]
prompts = ["1girl, red hair", "1boy, blue eyes"]
seeds = [1, 2]
steps = 2
width = 32
height = 32
batch = 1
[judge.j]
grid = "g"
tagger = "mini"
heldout = "p"
heldout_images = 8
models = ["v", "t"]
latents = "l"
captions = "c"
loss_images = 4
[report.r]
title = "Tiny"
"""
KINDS = ("booru", "vae", "posts", "captions", "latents", "train", "merge", "grid", "judge", "report")
STAGES = {kind: f"{kind}.{name}" for kind, name in re.findall(r"^\[(\w+)\.(\w+)\]", RECIPE, re.MULTILINE)}
CLOCKED = ("started", "seconds", "shares", "pictures_per_second", "images_per_second")  # what a clock decides
PROGRESS = ("resumed_at", "encoded", "drawn", "L1")  # what tells how much the last run had left to do


@dataclass(frozen=True)
class Ended:
    """How a run ended, what it said, and the moments it went through by kind of stage."""

    status: int
    said: str
    moments: dict[str, list[str]]


class Runs:
    """Starts runs, one after another."""

    def __init__(self, folder: Path) -> None:
        """Start the server, which loads PyTorch once."""
        self.log = folder / "log"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
        command = [sys.executable, "-m", "tests.robustness.program"]
        environment |= {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
        pipe = subprocess.PIPE
        self.server = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True, cwd=ROOT)

    def start(self, *arguments: str | Path, work: Path, **how: Any) -> int:
        """Start a run; return its process id."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        given = [*map(str, arguments), "--work", str(work)]
        request = {"arguments": given, "work": str(work), "log": str(self.log), **how}
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def wait(self) -> Ended:
        """Wait for the run to end."""
        assert self.server.stdout is not None
        status, said = int(self.server.stdout.readline()), self.log.read_text()
        tally = Path(f"{self.log}.moments")
        moments = json.loads(tally.read_text()) if tally.exists() else {}
        tally.unlink(missing_ok=True)
        return Ended(status, said, moments)

    def __call__(self, *arguments: str | Path, work: Path, **how: Any) -> Ended:
        """Run to the end."""
        self.start(*arguments, work=work, **how)
        return self.wait()

    def close(self) -> None:
        """End the server."""
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait()


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Return what starts runs."""
    started = Runs(tmp_path_factory.mktemp("runs"))
    yield started
    started.close()


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return the recipe's path, the same for every worker."""
    base = tmp_path_factory.getbasetemp()
    path = (base if worker_id == "master" else base.parent) / "robustness" / "tiny.toml"
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        path.write_text(RECIPE)
    return path


@pytest.fixture(scope="session")
def undisturbed(recipe: Path, runs: Runs) -> tuple[Path, dict[str, list[str]]]:
    """Return the work folder of a run that nothing disturbed, and its moments; made once for all workers."""
    work, moments = recipe.parent / "undisturbed", recipe.parent / "moments.json"
    with (recipe.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not moments.exists():
            ended = runs("run", recipe, work=work)
            assert ended.status == 0, ended.said
            moments.write_text(json.dumps(ended.moments))
    return work, json.loads(moments.read_text())


def copy_behind(work: Path, kinds: tuple[str, ...], target: Path) -> None:
    """Copy the finished stages of some kinds into another work folder."""
    target.mkdir(exist_ok=True)
    for folder in work.iterdir():
        if folder.name.partition("-")[0] in kinds:
            shutil.copytree(folder, target / folder.name)


def content(work: Path, kinds: tuple[str, ...]) -> dict[str, Any]:
    """Return all that the stages of some kinds wrote, but for what a clock or the way to the end decides."""
    found: dict[str, Any] = {}
    for path in sorted(work.rglob("*")):
        name = path.relative_to(work).as_posix()
        if path.is_dir() or name.partition("-")[0] not in kinds or name.endswith("/import/source.json"):
            continue  # it names the file that was imported, with its time
        if "/tensorboard/" in name:
            continue
        data = re.sub(rb'("source": ")[^"]*/', rb"\1", path.read_bytes())  # a folder that was copied says whence
        if path.name == "done.json" and path.parent.parent == work:
            found[name] = _timeless(json.loads(data))
        elif path.name == "report.html":
            found[name] = re.sub(rb"(?:[\d.]+ (?:h|min|s)\b ?)+|[\d.]+", b"", data)
        else:
            found[name] = data
    return found


def _timeless(done: dict[str, Any]) -> dict[str, Any]:
    left = {key: value for key, value in done.items() if key not in CLOCKED}
    left["outputs"] = sorted(left["outputs"])
    left["summary"] = {key: value for key, value in left["summary"].items() if key not in (*CLOCKED, *PROGRESS)}
    if done["kind"] == "report":
        left["summary"].pop("bytes")
    return left


def assert_same(work: Path, golden: Path, *, kinds: tuple[str, ...] = KINDS) -> None:
    """Compare two work folders file by file, the stages of some kinds."""
    ours, theirs = content(work, kinds), content(golden, kinds)
    assert sorted(ours) == sorted(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []
