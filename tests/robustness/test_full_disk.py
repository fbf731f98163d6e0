"""A disk that is full in the middle of a stage: told as such, nothing is lost, and the same command goes on."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.robustness.conftest import KINDS, STAGES, assert_same, copy_behind

Sized = Callable[[int], None]
PAGE = 4096


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Sized]]:
    """Return a small disk and what changes its size."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")

    def resize(size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)

    try:
        yield folder, resize
    finally:
        subprocess.run(["umount", folder], check=True)


def used(folder: Path) -> int:
    """Return the bytes that are taken on a disk."""
    state = os.statvfs(folder)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk(kind, disk, undisturbed, recipe, runs):
    golden, _ = undisturbed
    folder, resize = disk
    resize(64 << 20)
    work = folder / "work"
    copy_behind(golden, KINDS[: KINDS.index(kind)], work)
    before, whole = used(folder), sum(path.stat().st_size for path in golden.glob(f"{kind}-*/**/*") if path.is_file())
    resize(before + max(whole // 2 // PAGE, 2) * PAGE)
    ended = runs("run", recipe, STAGES[kind], work=work)
    assert ended.status == 1, ended.said
    said = [line for line in ended.said.splitlines() if line.startswith("enogu: ")]
    assert len(said) == 1
    assert "make room" in said[0]
    assert str(folder) in said[0]
    assert "Traceback" not in ended.said
    resize(64 << 20)
    ended = runs("run", recipe, STAGES[kind], work=work)
    assert ended.status == 0, ended.said
    assert_same(work, golden, kinds=KINDS[: KINDS.index(kind) + 1])


@pytest.mark.parametrize("kind", ["booru", "vae", "latents", "train", "grid"])
def test_a_disk_that_takes_no_large_file(kind, undisturbed, recipe, runs, tmp_path):
    golden, _ = undisturbed
    copy_behind(golden, KINDS[: KINDS.index(kind)], tmp_path)
    largest = max(path.stat().st_size for path in golden.glob(f"{kind}-*/**/*") if path.is_file())
    ended = runs("run", recipe, STAGES[kind], work=tmp_path, file_bytes=largest // 2)
    assert ended.status == 1, ended.said
    assert "make room" in ended.said.splitlines()[-1]
    assert "Traceback" not in ended.said
    ended = runs("run", recipe, STAGES[kind], work=tmp_path)
    assert ended.status == 0, ended.said
    assert_same(tmp_path, golden, kinds=KINDS[: KINDS.index(kind) + 1])


def test_a_disk_that_is_full_before_the_start(disk, recipe, runs):
    folder, resize = disk
    work = folder / "work"
    work.mkdir()
    (work / "hashes.json").write_text("{}")
    resize(PAGE * 4)
    with (folder / "filler").open("wb", buffering=0) as filler:
        try:
            while filler.write(bytes(PAGE)):
                pass
        except OSError:
            pass
    ended = runs("run", recipe, work=work)
    assert ended.status == 1
    assert "Traceback" not in ended.said
    assert shutil.disk_usage(folder).free == 0
