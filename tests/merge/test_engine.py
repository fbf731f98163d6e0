"""The pipeline around the arithmetic: what is read, hashed and left behind, whatever the order of the inputs."""

import errno
import hashlib
import itertools
import json
import os
import threading
from collections import deque
from pathlib import Path
from random import Random
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from enogu.core.networks import direct
from enogu.core.networks.direct import DirectFile, room, room_for, sha256_direct
from enogu.core.networks.header import Spec, TensorInfo, header_bytes, layout, read_header
from enogu.core.networks.stream import as_bytes
from enogu.core.records.errors import Failed
from enogu.core.records.hashes import sha256_file
from enogu.core.records.known_hashes import KnownHashes, mark_of
from enogu.merge import stage
from enogu.merge.config import MergeConfig
from enogu.merge.engine import Engine
from enogu.merge.inputs import read_headers
from enogu.merge.plan import make_plan
from enogu.merge.slabs import Ring
from tests.merge import pico

A, B = pico.tensors(0), pico.tensors(1)


def backwards(path: Path, tensors: dict[str, Tensor]) -> Path:
    """Write a file whose tensors lie in an order that no writer of ours makes."""
    infos, position = {}, 0
    for name in reversed(layout({key: Spec(t.dtype, tuple(t.shape)) for key, t in tensors.items()})):
        info = layout({name: Spec(tensors[name].dtype, tuple(tensors[name].shape))})[name]
        infos[name] = TensorInfo(info.dtype, info.shape, position, position + info.nbytes)
        position += info.nbytes
    path.write_bytes(header_bytes(infos, {}) + b"".join(bytes(as_bytes(tensors[name])) for name in infos))
    return path


@pytest.mark.parametrize("memory", [1 << 12, 1 << 24])
def test_parents_are_hashed_whole_in_any_order_and_with_parts_left_out(tmp_path: Path, memory: int) -> None:
    files = pico.write(tmp_path, a=A)
    files["b"] = backwards(tmp_path / "b.safetensors", B)
    plan = make_plan(MergeConfig(formula="0.5*a.unet + 0.5*b.unet + a.te + a.vae"), read_headers(files))
    told: list[dict[str, str]] = []
    Engine(memory=memory).run(
        plan,
        files,
        tmp_path / "out",
        describe=lambda hashes: told.append(dict(hashes)) or {},  # type: ignore[func-returns-value]
    )
    assert told[-1] == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def test_the_order_within_the_files_changes_no_byte(tmp_path: Path) -> None:
    files = pico.write(tmp_path, a=A, b=B)
    turned = {**files, "b": backwards(tmp_path / "c.safetensors", B)}
    for number, named in enumerate((files, turned)):
        plan = make_plan(MergeConfig(formula="ties(a, b, keep=0.3)", vae="a", text="a"), read_headers(named))
        Engine(memory=1 << 12).run(plan, named, tmp_path / str(number))
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()


def test_memory_changes_no_byte_whether_it_holds_a_tensor_a_part_of_it_or_nothing(tmp_path: Path) -> None:
    large = {key: torch.cat([tensor] * 40) if "attn" in key else tensor for key, tensor in A.items()}
    files = pico.write(tmp_path, a=large, b={key: tensor.roll(1, 0) * 1.1 for key, tensor in large.items()})
    plan = make_plan(MergeConfig(formula="ties(a, b, keep=0.3)", vae="a", text="a"), read_headers(files))
    found = set()
    for memory in (1 << 10, 300_000, 500_000, 1_000_000, 1 << 26):
        found.add(Engine(memory=memory, piece=1000).run(plan, files, tmp_path / "out").data_sha256)
    assert len(found) == 1


def test_mapped_files_change_no_byte(tmp_path: Path) -> None:
    files = {**pico.write(tmp_path, a=A), "b": backwards(tmp_path / "b.safetensors", B)}
    plan = make_plan(MergeConfig(formula="ties(a, b, keep=0.3)", vae="a", text="a"), read_headers(files))
    for mapped in (False, True):
        Engine(mapped=mapped).run(plan, files, tmp_path / str(mapped))
    assert (tmp_path / "False").read_bytes() == (tmp_path / "True").read_bytes()


def test_a_ring_lends_each_byte_once_and_all_of_its_memory() -> None:
    ring, random = Ring(1000), Random(0)
    lent: deque[tuple[int, memoryview]] = deque()
    most = 0
    for number in range(2000):
        size = random.choice((1, 40, 333, 1000, 1500)) if number % 50 == 0 else random.randint(1, 400)
        while (memory := ring.lend(size)) is None:
            mark, oldest = lent.popleft()
            assert set(oldest) == {mark}  # nobody else wrote there meanwhile
            ring.take_back()
        assert len(memory) == size
        memory[:] = bytes([number % 251]) * size
        lent.append((number % 251, memory))
        most = max(most, sum(len(held) for _, held in lent))
    assert 900 < most <= 1500


def test_direct_reads_give_any_range_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    data = os.urandom(3 * 4096 + 77)
    path.write_bytes(data)
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
    for cached in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(direct, "_is_cached", lambda *_, cached=cached: cached)
            with DirectFile(path) as file:
                for start, stop in ((0, len(data)), (1, 2), (4095, 4097), (4096, 8192), (9000, len(data)), (5, 5)):
                    memory = room(room_for(stop - start))
                    assert bytes(file.read(start, stop, memory)) == data[start:stop]
                path.write_bytes(data[:100])
                with pytest.raises(Failed, match="another program"):
                    file.read(0, len(data), room(room_for(len(data))))
                path.write_bytes(data)
    assert sha256_direct(path) == hashlib.sha256(data).hexdigest()


def test_large_files_are_written_past_the_cache_byte_by_byte_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = pico.write(tmp_path, a=A, b=B)
    config = MergeConfig(formula="0.5*a + 0.5*b")
    stage.merge(config, files, tmp_path / "plain")
    monkeypatch.setattr(direct, "DIRECT_FROM", 0)
    monkeypatch.setattr(direct, "BLOCK_BYTES", 4096)
    stage.merge(config, files, tmp_path / "direct")
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "direct").read_bytes()


@pytest.mark.parametrize("formula", ["0.5*a + 0.5*b", "ties(a, b)"])
@pytest.mark.parametrize(("moment", "good"), [("read", 0), ("read", 7), ("write", 0)])
def test_a_disk_that_fails_midway_leaves_no_file_and_no_thread(
    moment: str, good: int, formula: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = pico.write(tmp_path, a=A, b=B)
    plan = make_plan(MergeConfig(formula=formula), read_headers(files))
    before = threading.active_count()
    calls, read = itertools.count(), direct.DirectFile.read

    def broken(*given: Any) -> Any:
        if moment == "read" and next(calls) < good:
            return read(*given)
        raise OSError(errno.ENOSPC, "No space left on device")

    if moment == "read":
        monkeypatch.setattr(direct.DirectFile, "read", broken)
    else:
        monkeypatch.setattr(direct.os, "pwrite", broken)
    with pytest.raises(Failed, match="nothing was written"):
        Engine(memory=1 << 17).run(plan, files, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]
    assert threading.active_count() == before


def test_an_interrupt_in_a_thread_of_the_engine_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = pico.write(tmp_path, a=A, b=B)
    plan = make_plan(MergeConfig(formula="ties(a, b)"), read_headers(files))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Engine(progress=interrupted).run(plan, files, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_a_model_bound_twice_is_read_once_and_told_twice(tmp_path: Path) -> None:
    files = pico.write(tmp_path, a=A)
    files["twin"] = files["a"]
    stage.merge(MergeConfig(formula="0.5*a + 0.5*twin"), files, tmp_path / "out")
    assert torch.equal(safetensors.torch.load_file(tmp_path / "out")[pico.MIDDLE], A[pico.MIDDLE])
    models = json.loads(read_header(tmp_path / "out").metadata["enogu.merge"])["models"]
    assert models["a"]["sha256"] == models["twin"]["sha256"] == sha256_file(files["a"])


def test_a_known_parent_is_not_hashed_again_until_it_changes(tmp_path: Path) -> None:
    files, memory = pico.write(tmp_path, a=A, b=B), tmp_path / "hashes.json"

    def recipe_of(known: KnownHashes) -> str:
        stage.merge(MergeConfig(formula="0.5*a + 0.5*b"), files, tmp_path / "out", known=known)
        known.remember()
        return read_header(tmp_path / "out").metadata["enogu.merge"]

    first = recipe_of(KnownHashes(memory))
    claimed = KnownHashes(memory)
    claimed.note(files["a"], mark_of(files["a"]), "f" * 64)
    assert json.loads(recipe_of(claimed))["models"]["a"]["sha256"] == "f" * 64
    files["a"].write_bytes(files["a"].read_bytes())  # the same bytes, written again
    assert recipe_of(KnownHashes(memory)) == first
