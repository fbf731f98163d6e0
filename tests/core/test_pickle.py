"""Files of torch.save are read as torch reads them, and nothing that they name is ever run."""

import collections
import datetime
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from enogu.cli import main
from enogu.core.networks.pickles import read_pickle
from enogu.core.networks.source import open_source
from enogu.core.records.errors import Refused
from tests.merge import pico

ODD = {
    "half": torch.randn(3, 4).half(),
    "turned": torch.randn(4, 5).t(),
    "channels_last": torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
    "window": torch.arange(20.0)[5:9],
    "parameter": torch.nn.Parameter(torch.ones(2, 2)),
    "scalar": torch.tensor(2.5, dtype=torch.bfloat16),
    "eight": torch.ones(3).to(torch.float8_e4m3fn),
    "none": torch.zeros(0),
    "ids": torch.arange(77)[None],
    "strided": torch.arange(12.0)[::3],
}


def saved(path: Path, value: Any, *, zipped: bool = True) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("mapped", [True, False])
def test_every_kind_of_tensor_is_read_from_both_containers(tmp_path: Path, zipped: bool, mapped: bool) -> None:
    own = {**ODD, "shared": ODD["half"][1:]}
    with open_source(saved(tmp_path / "x.ckpt", own, zipped=zipped), mapped=mapped) as source:
        assert source.header.tensors.keys() == own.keys()
        for key, value in own.items():
            back = source.tensor(key)
            assert (back.dtype, back.shape) == (value.dtype, value.shape)
            assert torch.equal(back.float(), value.detach().float()), key
            if value.numel() > 3:
                assert torch.equal(source.stretch(key, 1, 3).float(), value.detach().flatten()[1:3].float())


@pytest.mark.parametrize("zipped", [True, False])
def test_a_trainer_s_state_is_left_alone(tmp_path: Path, zipped: bool) -> None:
    state = collections.OrderedDict(pico.tensors(0))
    state._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    made = {
        "state_dict": state,
        "epoch": 3,
        "global_step": np.int64(70),
        "pytorch-lightning_version": "1.4.2",
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5), "when": datetime.timedelta(3)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(7)}}, "param_groups": [{"betas": (0.9, 0.99)}]}],
        "where": Path("/somewhere"),
        "loops": collections.Counter(a=3),
        "best": np.float64(0.25),
        "kinds": {datetime.timedelta: torch.float16, "size": torch.Size([3]), "device": torch.device("cpu")},
    }
    with open_source(saved(tmp_path / "x.ckpt", made, zipped=zipped)) as source:
        assert dict(source.header.metadata) == {"epoch": "3", "pytorch-lightning_version": "1.4.2"}
        assert source.header.tensors.keys() == pico.tensors(0).keys()
        assert torch.equal(source.tensor(pico.MIDDLE), pico.tensors(0)[pico.MIDDLE])


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(self.marker)!r}, 'w')",)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_named_and_never_run(tmp_path: Path, zipped: bool, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path / "x.ckpt", {**pico.tensors(0), "x": Evil(tmp_path / "ran")}, zipped=zipped)
    assert main(["convert", str(path), "-o", str(tmp_path / "out.safetensors")]) == 2
    assert "asks to run builtins.exec; nothing was run" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        (b"(S'true'\nios\nsystem\n.", "os.system"),
        (b"(cos\nsystem\nS'true'\no.", "os.system"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.", "posix.system"),
        (b"cbuiltins\ngetattr\n(ctorch\nload\nS'x'\ntR.", "builtins.getattr, torch.load"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x02}r\xff\xff\xff\xff0.", "broken"),  # a memo of 4 G entries
        (b"(((.", "broken"),
        (b"0.", "broken"),
        (b"\x80\x02}q\x00h\x05.", "broken"),
        (b"\x80\x02X\xff\xff\xff\x7fab.", "broken"),
        (b"\x80\x02", "broken"),
        (b"", "broken"),
        (b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".", ""),
    ],
)
def test_broken_and_wicked_pickles_are_refused(raw: bytes, says: str) -> None:
    if says:
        with pytest.raises(Refused, match=says):
            read_pickle(raw)
    else:
        read_pickle(raw)  # a tower of tuples is no tensor, and no harm


def test_any_damage_of_a_pickle_is_read_or_refused() -> None:
    buffer = io.BytesIO()
    torch.save(ODD, buffer)
    with zipfile.ZipFile(buffer) as archive:
        raw = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(raw)
        for position in rng.integers(0, len(raw), rng.integers(1, 4)):
            damaged[position] = rng.integers(256)
        try:
            read_pickle(bytes(damaged))
        except Refused:
            continue


def zipped(path: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def parts(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_bombs_and_cut_files_are_refused(tmp_path: Path) -> None:
    good = saved(tmp_path / "good.ckpt", {"a": torch.ones(1000)})
    own = parts(good)
    data = next(name for name in own if name.endswith("/data/0"))
    cases = {
        "compressed": zipped(tmp_path / "bomb", own, zipfile.ZIP_DEFLATED),
        "0 data.pkl": zipped(tmp_path / "none", {"a.txt": b"x"}),
        "is not in the file": zipped(tmp_path / "lost", {name: raw for name, raw in own.items() if name != data}),
        "reaches beyond": zipped(tmp_path / "short", {**own, data: own[data][:-8]}),
        "big-endian": zipped(tmp_path / "big", {**own, "good/byteorder": b"big"}),
    }
    for size in (8, 300, 3000):
        cut = tmp_path / f"cut{size}"
        cut.write_bytes(good.read_bytes()[:size])
        with pytest.raises(Refused, match="cut"):
            open_source(cut)
    for says, path in cases.items():
        with pytest.raises(Refused, match=says):
            open_source(path)
    lying = bytearray(good.read_bytes())
    place = lying.rfind(b"PK\x01\x02")  # the last entry of the directory, made to point at the first member
    lying[place + 42 : place + 46] = (0).to_bytes(4, "little")
    (tmp_path / "overlap").write_bytes(lying)
    with pytest.raises(Refused, match=r"overlaps|zip"):
        open_source(tmp_path / "overlap")


def test_a_legacy_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    raw = saved(tmp_path / "x.ckpt", ODD, zipped=False).read_bytes()
    for size in (20, 200, len(raw) - 5):
        (tmp_path / "cut").write_bytes(raw[:size])
        with pytest.raises(Refused):
            open_source(tmp_path / "cut")


def test_other_pickles_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    with pytest.raises(Refused):
        open_source(tmp_path / "x.pt")
    with pytest.raises(Refused, match="no tensors were found in it, only a"):
        open_source(saved(tmp_path / "y.pt", {"a": 1}))
    with pytest.raises(Refused, match="no state dict"):
        open_source(saved(tmp_path / "z.pt", [torch.ones(3)]))
