"""A run that is killed or stopped goes on when it is run again, and ends in the bytes of an undisturbed run."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.robustness.conftest import KILL, KINDS, ROOT, STAGES, STOP, Runs, assert_same, copy_behind

DEAF = 'trap "" INT; exec "$@"'  # as a shell starts what runs in the background
SAID = "the same command goes on"


def parts(work: Path) -> list[Path]:
    """Return what atomic writes left behind."""
    return [path for path in work.rglob("*.part*") if path.is_file()]


def test_two_undisturbed_runs_write_the_same(undisturbed, recipe, runs, tmp_path):
    golden, moments = undisturbed
    assert set(KINDS) <= set(moments)
    assert runs("run", recipe, work=tmp_path).status == 0
    assert_same(tmp_path, golden)
    assert not parts(tmp_path)


@pytest.mark.parametrize("kinds", [KINDS[:4], KINDS[4:7], KINDS[7:]], ids="-".join)
def test_killed_in_every_kind_of_stage(kinds, undisturbed, recipe, runs, tmp_path):
    golden, moments = undisturbed
    copy_behind(golden, KINDS[: KINDS.index(kinds[0])], tmp_path)
    for kind in kinds:
        for moment in sorted({len(moments[kind]) // 2, len(moments[kind]) - 1}):
            ended = runs("run", recipe, STAGES[kind], work=tmp_path, at=at(kind, moment, KILL))
            assert ended.status in (-KILL, 0), ended.said  # 0: a run that goes on has fewer moments
    finish(runs, recipe, tmp_path, golden=golden, kinds=kinds)


@pytest.mark.parametrize("kinds", [KINDS[:4], KINDS[4:7], KINDS[7:]], ids="-".join)
def test_stopped_in_every_kind_of_stage(kinds, undisturbed, recipe, runs, tmp_path):
    golden, moments = undisturbed
    copy_behind(golden, KINDS[: KINDS.index(kinds[0])], tmp_path)
    for kind in kinds:
        ended = runs("run", recipe, STAGES[kind], work=tmp_path, at=at(kind, len(moments[kind]) // 2, STOP))
        assert ended.status == 130, ended.said
        assert SAID in ended.said.splitlines()[-1]
        assert "Traceback" not in ended.said
    finish(runs, recipe, tmp_path, golden=golden, kinds=kinds)


@pytest.mark.parametrize(
    ("sent", "around"), [(signal.SIGINT, []), (signal.SIGTERM, []), (signal.SIGTERM, ["sh", "-c", DEAF, "sh"])]
)
def test_ctrl_c_in_a_terminal_and_a_scheduler_s_way(sent, around, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text('[recipe]\nname = "r"\n[booru.b]\nposts = 4000\n')
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [*around, sys.executable, "-m", "enogu", "run", str(recipe)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as run:
        assert run.stderr is not None
        assert run.stderr.readline() == "[1/1] booru.b\n"
        time.sleep(0.2)
        run.send_signal(sent)
        said = run.stderr.read()
    assert run.returncode == 130
    assert said.strip() == f"enogu: stopped; what is done is kept in {tmp_path / 'enogu-work' / 'r'}: {SAID}"


@pytest.mark.slow
@pytest.mark.parametrize("sent", [KILL, STOP], ids=["kill", "stop"])
@pytest.mark.parametrize("kind", KINDS)
def test_at_every_moment(kind, sent, undisturbed, recipe, runs, tmp_path):
    golden, moments = undisturbed
    for moment in range(1, len(moments[kind]) + 1):
        work = tmp_path / f"{moment}"
        copy_behind(golden, KINDS[: KINDS.index(kind)], work)
        ended = runs("run", recipe, STAGES[kind], work=work, at=at(kind, moment, sent))
        assert ended.status == (-KILL if sent == KILL else 130), (moments[kind][moment - 1], ended.said)
        assert "Traceback" not in ended.said
        finish(runs, recipe, work, golden=golden, kinds=(kind,))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_within_a_write(kind, undisturbed, recipe, runs, tmp_path):
    golden, _ = undisturbed
    for number, size in enumerate((1, 100, 1_000, 5_000, 20_000, 100_000, 500_000)):
        work = tmp_path / f"{number}"
        copy_behind(golden, KINDS[: KINDS.index(kind)], work)
        ended = runs("run", recipe, STAGES[kind], work=work, file_bytes=size, cut=True)
        assert ended.status in (-signal.SIGXFSZ, 0, 1), ended.said
        finish(runs, recipe, work, golden=golden, kinds=(kind,))


@pytest.mark.slow
def test_killed_again_and_again(undisturbed, recipe, runs, tmp_path):
    golden, _ = undisturbed
    chance, deaths = random.Random(0), 0
    while True:
        process = runs.start("run", recipe, work=tmp_path)
        time.sleep(chance.uniform(1, 3))
        with suppress(ProcessLookupError):  # it has come to its end
            os.kill(process, chance.choice([KILL, STOP]))
        ended = runs.wait()
        if ended.status == 0:
            break
        assert ended.status in (-KILL, 130), ended.said
        deaths += 1
    assert deaths
    assert_same(tmp_path, golden)


def at(kind: str, moment: int, sent: int) -> dict[str, object]:
    """Return what a run is told of its end."""
    return {"kind": kind, "moment": moment, "signal": int(sent)}


def finish(runs: Runs, recipe: Path, work: Path, *, golden: Path, kinds: tuple[str, ...]) -> None:
    """Run the last of some kinds to its end, and compare all there is with the undisturbed run."""
    ended = runs("run", recipe, *(STAGES[kind] for kind in kinds), work=work)
    assert ended.status == 0, ended.said
    assert not parts(work)
    assert_same(work, golden, kinds=KINDS[: KINDS.index(kinds[-1]) + 1])
