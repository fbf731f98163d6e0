"""Conversions keep what they must, lose what they say, and are read back by the same rules."""

import json
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from enogu.cli import main
from enogu.core.networks.convert import convert
from enogu.core.networks.fp8 import DTYPES
from enogu.core.networks.rewrite import Conversion
from enogu.core.networks.source import open_source
from enogu.core.networks.stream import save_tensors
from enogu.core.records.errors import Refused
from tests.merge import pico

A, B = pico.tensors(0), pico.tensors(1)
INNER = {pico.MIDDLE, *(key for key in A if "in_layers" in key)} - {pico.unet("IN00")}


def converted(tmp_path: Path, tensors: dict[str, Tensor], **change: object) -> dict[str, Tensor]:
    save_tensors(tmp_path / "in.safetensors", tensors, {"modelspec.title": "x", "modelspec.hash_sha256": "0x0"})
    (tmp_path / "out.safetensors").unlink(missing_ok=True)
    convert(tmp_path / "in.safetensors", tmp_path / "out.safetensors", Conversion(**change))  # type: ignore[arg-type]
    return safetensors.torch.load_file(tmp_path / "out.safetensors")


def test_a_plain_cast_rounds_once_and_spares_integers(tmp_path: Path) -> None:
    result = converted(tmp_path, A, dtype="bf16")
    for key, tensor in A.items():
        assert torch.equal(result[key], tensor.bfloat16() if tensor.is_floating_point() else tensor), key


@pytest.mark.parametrize("dtype", DTYPES)
def test_eight_bits_spare_the_ends_and_saturate(tmp_path: Path, dtype: str) -> None:
    wild = {**A, pico.MIDDLE: A[pico.MIDDLE].clone().index_fill_(0, torch.tensor(0), 60000)}
    result = converted(tmp_path, wild, dtype=dtype)
    assert {key for key in result if result[key].dtype == DTYPES[dtype]} == INNER
    assert result[pico.MIDDLE].float().max() == torch.finfo(DTYPES[dtype]).max
    assert all(result[key].dtype == torch.float16 for key in (pico.HEAD, pico.TIME, pico.TEXT, pico.VAE))


@pytest.mark.parametrize("convention", ["legacy", "comfy"])
def test_scaled_eight_bits_are_written_and_read_in_both_conventions(tmp_path: Path, convention: str) -> None:
    small = {key: value * 1e-3 if value.is_floating_point() else value for key, value in A.items()}
    stored = converted(tmp_path, small, dtype="fp8_e4m3fn", scaled=convention)
    layer = pico.MIDDLE.removesuffix(".weight")
    if convention == "legacy":
        assert stored["model.diffusion_model.scaled_fp8"].dtype == torch.float8_e4m3fn
        scale = stored[f"{layer}.scale_weight"]
    else:
        scale = stored[f"{layer}.weight_scale"]
        assert json.loads(bytes(stored[f"{layer}.comfy_quant"].tolist())) == {"format": "float8_e4m3fn"}
        with safetensors.safe_open(tmp_path / "out.safetensors", "pt") as file:
            assert json.loads(file.metadata()["_quantization_metadata"])["layers"][layer] == {"format": "float8_e4m3fn"}
    assert float(scale) == pytest.approx(float(small[pico.MIDDLE].abs().max()) / 448)
    with open_source(tmp_path / "out.safetensors") as source:
        assert source.header.tensors.keys() == A.keys()
        for key in INNER:
            back = source.tensor(key)
            assert back.dtype == torch.float32
            assert float((back - small[key].float()).norm() / small[key].float().norm()) < 0.04
        part = source.stretch(pico.MIDDLE, 5, 9)
        assert torch.equal(part, source.tensor(pico.MIDDLE).flatten()[5:9])


def test_a_scale_per_row_is_read_and_blocks_are_refused(tmp_path: Path) -> None:
    layer, key = pico.MIDDLE.removesuffix(".weight"), pico.MIDDLE
    weight = torch.ones(16, 16).to(torch.float8_e4m3fn)
    save_tensors(tmp_path / "rows", {key: weight, f"{layer}.weight_scale": torch.arange(16.0)[:, None]}, {})
    with open_source(tmp_path / "rows") as source:
        assert torch.equal(source.tensor(key), torch.arange(16.0)[:, None].expand(16, 16))
        assert torch.equal(source.stretch(key, 30, 34), torch.tensor([1.0, 1.0, 2.0, 2.0]))
    save_tensors(tmp_path / "blocks", {key: weight, f"{layer}.weight_scale": torch.ones(4, 4)[:2]}, {})
    with open_source(tmp_path / "blocks") as source, pytest.raises(Refused, match="blockwise"):
        source.tensor(key)


def test_position_ids_are_repaired_under_every_name(tmp_path: Path) -> None:
    bent = {key: value for key, value in A.items() if key != pico.IDS}
    novel = pico.IDS.replace("text_model.", "")
    result = converted(tmp_path, {**bent, novel: torch.arange(77).half()[None] * 0.9})
    assert torch.equal(result[pico.IDS], torch.arange(77)[None])
    assert novel not in result


def test_parts_come_from_other_files(tmp_path: Path) -> None:
    bare = {"decoder.conv_in.weight": B[pico.VAE]}
    save_tensors(tmp_path / "vae", bare, {})
    save_tensors(tmp_path / "b", B, {})
    result = converted(tmp_path, A, parts={"vae": tmp_path / "vae", "te1": tmp_path / "b"})
    assert torch.equal(result[pico.VAE], B[pico.VAE])
    assert torch.equal(result[pico.TEXT], B[pico.TEXT])
    assert torch.equal(result[pico.MIDDLE], A[pico.MIDDLE])
    with pytest.raises(Refused, match="has no te2"):
        converted(tmp_path, A, parts={"te2": tmp_path / "b"})


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_tensors(tmp_path / "in", {**A, "model_ema.decay": torch.ones(1), "junk": torch.ones(3)}, {})
    asked = ["convert", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--dtype", "fp8_e5m2", "--prune"]
    assert main(asked) == 0
    shown = capsys.readouterr().out
    assert "dropped 2 tensors" in shown
    assert "24 weights in 8 bits" in shown
    assert main(asked) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "in"), "-o", str(tmp_path / "x"), "--scaled", "comfy"]) == 2
    assert "8-bit dtypes" in capsys.readouterr().err
