"""Damage of any container is found when the file is opened, and never crashes the reader."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from enogu.cli import main
from enogu.core.networks.ahead import OnePass
from enogu.core.networks.source import Source, open_source
from enogu.core.networks.stream import save_tensors
from enogu.core.records.errors import Failed, Refused
from tests.merge import pico

A = pico.tensors(0)
Save = Callable[[Path, dict[str, Tensor]], object]
FORMS: dict[str, Save] = {
    "safetensors": lambda path, tensors: save_tensors(path, tensors, {"a": "b"}),
    "zip": lambda path, tensors: torch.save(tensors, path),
    "legacy": lambda path, tensors: torch.save(tensors, path, _use_new_zipfile_serialization=False),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_shows_the_same(tmp_path: Path, form: str) -> None:
    FORMS[form](tmp_path / "x", A)
    for mapped in (False, True):
        with open_source(tmp_path / "x", mapped=mapped) as source:
            assert source.header.tensors.keys() == A.keys()
            assert all(torch.equal(source.tensor(key), A[key]) for key in A)


def test_pieces_that_were_read_ahead_are_those_of_the_file(tmp_path: Path) -> None:
    values = torch.arange(6_000_000, dtype=torch.int32).view(torch.float32)
    large = {"a": values[:5_000_000], "b": values[5_000_000:].reshape(1000, -1), "c": values[7:9]}
    torch.save({**large, "d": large["b"].t()}, tmp_path / "x")
    with OnePass(tmp_path / "x") as source:
        for key, step in (("a", 700_001), ("b", 300_000), ("d", 250_000), ("c", 1), ("a", 3_000_000), ("a", 5_000_000)):
            count = source.header.tensors[key].numel
            pieces = [source.stretch(key, i, min(i + step, count)) for i in range(0, count, step)]
            expected = large["b"].t() if key == "d" else large[key]
            assert torch.equal(torch.cat(pieces).view(torch.int32), expected.flatten().view(torch.int32)), key


def test_a_tensor_in_another_order_is_laid_out_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = {key: A[key].contiguous(memory_format=torch.channels_last) for key in (pico.unet("IN01"), pico.HEAD)}
    torch.save(kernels, tmp_path / "x")
    laid_out, whole = [], Source.whole
    monkeypatch.setattr(Source, "whole", lambda source, part: laid_out.append(part) or whole(source, part))
    with open_source(tmp_path / "x") as source:
        for key, kernel in kernels.items():
            pieces = [source.stretch(key, i, i + 7) for i in range(0, kernel.numel(), 7)]
            assert torch.equal(torch.cat(pieces), kernel.flatten())
    assert len(laid_out) == len(kernels)


@pytest.mark.parametrize("form", FORMS)
def test_any_damage_is_read_or_refused(tmp_path: Path, form: str) -> None:
    FORMS[form](tmp_path / "x", {key: A[key] for key in (pico.MIDDLE, pico.TEXT, pico.IDS)})
    raw, rng = (tmp_path / "x").read_bytes(), np.random.default_rng(1)
    for _ in range(250):
        damaged = bytearray(raw[: rng.integers(len(raw))] if rng.random() < 0.3 else raw)
        for position in rng.integers(0, max(len(damaged), 1), rng.integers(1, 6)):
            if position < len(damaged):
                damaged[position] = rng.integers(256)
        (tmp_path / "x").write_bytes(damaged)
        try:
            with open_source(tmp_path / "x") as source:
                for key in source.header.tensors:
                    source.tensor(key)
        except (Refused, Failed):
            continue


def test_nothing_is_overwritten_by_a_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_tensors(tmp_path / "a", A, {})
    raw = (tmp_path / "a").read_bytes()
    (tmp_path / "cut").write_bytes(raw[:-100])
    (tmp_path / "out.safetensors").write_bytes(b"mine")
    assert main(["convert", str(tmp_path / "cut"), "-o", str(tmp_path / "new.safetensors")]) == 2
    assert "truncated" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "a"), "-o", str(tmp_path / "out.safetensors")]) == 2
    assert main(["convert", str(tmp_path / "a"), "-o", str(tmp_path / "a")]) == 2
    assert (tmp_path / "out.safetensors").read_bytes() == b"mine"
    assert (tmp_path / "a").read_bytes() == raw
    assert not (tmp_path / "new.safetensors").exists()


def test_a_file_that_shrinks_while_it_is_read_is_a_failure(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a", A, {})
    with open_source(tmp_path / "a") as source:
        (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:4000])
        with pytest.raises(Failed, match="did another program cut it"):
            [source.tensor(key) for key in A]
