"""Files are read and written as the reference library does, and damaged ones are refused before any work."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

from enogu.core.networks import stream
from enogu.core.networks.header import read_header
from enogu.core.networks.stream import HASH_PLACEHOLDER, Reader, Spec, open_writer, save_tensors
from enogu.core.records.errors import Failed, Refused

TENSORS = {
    "b.half": torch.arange(6, dtype=torch.float16).reshape(2, 3),
    "a.single": torch.linspace(-1, 1, 15).reshape(3, 5),
    "ids": torch.arange(7),
    "scalar": torch.tensor(2.5, dtype=torch.bfloat16),
    "marker": torch.zeros(0),
    "eight": torch.tensor([0.5, -448.0, 1e-3]).to(torch.float8_e4m3fn),
}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_tensors(tmp_path / "file.safetensors", TENSORS, {"title": "彩", "a": "b"})
    return tmp_path / "file.safetensors"


def test_a_file_that_is_not_there_is_answered_with_the_nearest(saved: Path) -> None:
    with pytest.raises(Refused, match=r"flie\.safetensors: No such file.*; did you mean 'file\.safetensors'"):
        read_header(saved.with_name("flie.safetensors"))


def test_the_reference_library_reads_what_is_written(saved: Path) -> None:
    loaded = safetensors.torch.load_file(saved)
    assert loaded.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert loaded[name].dtype == tensor.dtype
        assert loaded[name].shape == tensor.shape
        assert torch.equal(loaded[name].float(), tensor.float())
    with safetensors.safe_open(saved, "pt") as file:
        assert file.metadata() == {"title": "彩", "a": "b"}


def test_what_the_reference_library_writes_is_read(tmp_path: Path) -> None:
    safetensors.torch.save_file(TENSORS, tmp_path / "theirs.safetensors", {"x": "y"})
    with Reader(tmp_path / "theirs.safetensors") as reader:
        assert reader.header.metadata == {"x": "y"}
        for name, tensor in TENSORS.items():
            assert torch.equal(reader.tensor(name).float(), tensor.float())


def test_a_part_of_a_tensor_can_be_read(saved: Path) -> None:
    buffer = np.empty(8, np.uint8)
    with Reader(saved) as reader:
        reader.read_into("a.single", memoryview(buffer), offset=4 * 4)
    assert torch.equal(torch.from_numpy(buffer.view(np.float32)), TENSORS["a.single"].flatten()[4:6])


def test_tensors_are_aligned_and_the_bytes_never_vary(saved: Path, tmp_path: Path) -> None:
    backwards = dict(reversed(TENSORS.items()))
    save_tensors(tmp_path / "again.safetensors", backwards, {"a": "b", "title": "彩"})
    assert saved.read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    header = read_header(saved)
    assert header.data_start % 8 == 0
    assert all(info.start % info.torch_dtype.itemsize == 0 for info in header.tensors.values())


def test_hashes_taken_while_writing_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    written = save_tensors(path, TENSORS, {"modelspec.hash_sha256": HASH_PLACEHOLDER})
    raw, header = path.read_bytes(), read_header(path)
    assert written.data_sha256 == hashlib.sha256(raw[header.data_start :]).hexdigest()
    assert header.metadata["modelspec.hash_sha256"] == "0x" + written.data_sha256


def _raw(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def _entry(start: int, end: int, **other: Any) -> dict[str, Any]:
    return {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end], **other}


def _file(entries: dict[str, Any], data: int) -> bytes:
    return _raw(json.dumps(entries).encode(), bytes(data))


DAMAGED: list[tuple[bytes, str]] = [
    (b"", "too few"),
    (b"\x08\0\0", "too few"),
    (_raw(b"{}", length=200_000_000), "not a safetensors file"),
    (_raw(b"{}", length=100), "truncated within its header"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
    (b"<!DOCTYPE html><html>Sign in</html>", "a web page, perhaps of a download that wants a login"),
    (_raw(b"{"), "not JSON"),
    (_raw(b"\xff{}"), "not JSON"),
    (_raw(b"[" * 100_000), "not JSON"),
    (_raw(b"[]"), "not a JSON object"),
    (_raw(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}'), "'a' appears twice"),
    (_file({"__metadata__": {"x": {"y": "z"}}}, 0), "strings to strings"),
    (_file({"a": _entry(0, 8)}, 7), "truncated: 'a' ends 1 bytes"),
    (_file({"a": _entry(0, 8), "b": _entry(4, 12)}, 12), "'b' overlaps"),
    (_file({"a": _entry(0, 4), "b": _entry(8, 12)}, 12), "'b' leaves a hole"),
    (_file({"a": _entry(0, 4)}, 12), "belong to nothing"),
    (_file({"a": _entry(0, 4, shape=[5])}, 4), "takes 4 bytes"),
    (_file({"a": _entry(0, 4, shape=[-4])}, 4), "broken shape"),
    (_file({"a": _entry(0, 4, shape=[True])}, 4), "broken shape"),
    (_file({"a": _entry(0, 4, data_offsets=[0])}, 4), "broken shape"),
    (_file({"a": _entry(0, 4, data_offsets=[4, 0])}, 4), "takes -4 bytes"),
    (_file({"a": _entry(0, 4, dtype="F3")}, 4), "'F3'"),
    (_file({"a": {"dtype": "U8"}}, 0), "lacks"),
    (_file({"a": 3}, 0), "lacks"),
]


@pytest.mark.parametrize(("raw", "says"), DAMAGED)
def test_a_damaged_file_is_refused_with_its_damage(tmp_path: Path, raw: bytes, says: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(raw)
    with pytest.raises(Refused, match=says) as refusal:
        read_header(path)
    assert str(path) in str(refusal.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="No such file"):
        read_header(tmp_path / "none.safetensors")
    with pytest.raises(Refused, match="directory"):
        read_header(tmp_path)


def test_any_flipped_or_missing_byte_is_read_or_refused_but_never_crashes(saved: Path) -> None:
    raw, rng = saved.read_bytes(), np.random.default_rng(0)
    start = read_header(saved).data_start
    for _ in range(500):
        damaged = bytearray(raw[: rng.integers(len(raw))] if rng.random() < 0.3 else raw)
        for position in rng.integers(0, min(start, max(len(damaged), 1)), rng.integers(1, 4)):
            if position < len(damaged):
                damaged[position] = rng.integers(256)
        saved.write_bytes(damaged)
        try:
            header = read_header(saved)
        except Refused:
            continue
        assert max(info.end for info in header.tensors.values()) + header.data_start == len(damaged)


def test_tensors_out_of_order_or_missing_leave_no_file(tmp_path: Path) -> None:
    specs = {name: Spec(torch.uint8, (4,)) for name in "ab"}
    for names in ("b", "a"):
        with pytest.raises(ValueError), open_writer(tmp_path / "x", specs, {}) as writer:  # noqa: PT011
            writer.write(names, memoryview(bytes(4)))
    assert not list(tmp_path.iterdir())


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _full(*_: object) -> None:
    raise OSError(28, os.strerror(28))


@pytest.mark.parametrize(("fault", "error"), [(_interrupt, KeyboardInterrupt), (_full, Failed)])
def test_an_interrupt_or_a_full_disk_keeps_the_old_file(
    saved: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., None], error: type[BaseException]
) -> None:
    before = saved.read_bytes()
    monkeypatch.setattr(stream.StreamWriter, "write", fault)
    with pytest.raises(error):
        save_tensors(saved, {"z": torch.ones(9)}, {})
    assert list(saved.parent.iterdir()) == [saved]
    assert saved.read_bytes() == before


def test_no_room_is_noticed_before_anything_is_written(tmp_path: Path) -> None:
    with (
        pytest.raises(Refused, match="make room"),
        open_writer(tmp_path / "x", {"a": Spec(torch.uint8, (1 << 60,))}, {}),
    ):
        pass
