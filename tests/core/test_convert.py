"""Conversions keep what they must, lose what they say, and are read back by the same rules."""

import hashlib
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
from enogu.core.records.errors import Failed, Refused
from tests.core.test_diffusers import tensors as family_tensors
from tests.merge import pico

A, B = pico.tensors(0), pico.tensors(1)
INNER = {pico.MIDDLE, *(key for key in A if "in_layers" in key)} - {pico.unet("IN00")}


def converted(tmp_path: Path, tensors: dict[str, Tensor], **change: object) -> dict[str, Tensor]:
    save_tensors(tmp_path / "in.safetensors", tensors, {"modelspec.title": "x", "modelspec.hash_sha256": "0x0"})
    (tmp_path / "out.safetensors").unlink(missing_ok=True)
    convert(tmp_path / "in.safetensors", tmp_path / "out.safetensors", Conversion(**change))  # type: ignore[arg-type]
    return safetensors.torch.load_file(tmp_path / "out.safetensors")


@pytest.mark.parametrize("key", ["model.diffusion_model.foo./../b", "unet/conv_in.weight"])
def test_a_slash_in_a_key_does_not_make_a_folder(key: str, tmp_path: Path) -> None:
    result = converted(tmp_path, {**A, key: torch.ones(2)})
    assert result.keys() == {*A, key}


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"in\.safetensors holds no tensors"):
        converted(tmp_path, {})


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
        back = source.tensor(pico.MIDDLE)
        assert back.dtype == torch.float32
        assert float((back - small[pico.MIDDLE].float()).norm() / small[pico.MIDDLE].float().norm()) < 0.04
        part = source.stretch(pico.MIDDLE, 5, 9)
        assert torch.equal(part, source.tensor(pico.MIDDLE).flatten()[5:9])


@pytest.mark.parametrize("convention", ["legacy", "comfy"])
def test_only_what_comfyui_scales_is_narrowed_with_scales(tmp_path: Path, convention: str) -> None:
    made = {key: tensor.to(torch.float16) for key, tensor in family_tensors("mini-sdxl").items()}
    stored = converted(tmp_path, made, dtype="fp8_e4m3fn", scaled=convention)
    scaled = {key.rpartition(".")[0] + ".weight" for key in stored if key.endswith(("scale_weight", "weight_scale"))}
    assert scaled
    assert all(key.startswith("model.diffusion_model.") and made[key].ndim == 2 for key in scaled), scaled
    assert {key for key in made if stored[key].dtype == torch.float8_e4m3fn} == scaled


@pytest.mark.parametrize("convention", ["legacy", "comfy"])
def test_scaled_weights_stay_as_they_are_or_change_their_convention(tmp_path: Path, convention: str) -> None:
    first = converted(tmp_path, A, dtype="fp8_e4m3fn", scaled=convention)
    (tmp_path / "out.safetensors").rename(tmp_path / "scaled")
    convert(tmp_path / "scaled", tmp_path / "same", Conversion())
    again = safetensors.torch.load_file(tmp_path / "same")
    assert again.keys() == first.keys()
    assert all(again[key].dtype == first[key].dtype for key in first)
    assert all(torch.equal(again[key].float(), first[key].float()) for key in first)
    other = {"legacy": "comfy", "comfy": "legacy"}[convention]
    convert(tmp_path / "scaled", tmp_path / "other", Conversion(dtype="fp8_e4m3fn", scaled=other))
    convert(tmp_path / "other", tmp_path / "back", Conversion(dtype="fp8_e4m3fn", scaled=convention))
    back = safetensors.torch.load_file(tmp_path / "back")
    assert all(torch.equal(back[key].float(), first[key].float()) for key in first)
    with safetensors.safe_open(tmp_path / "same", "pt") as file:
        assert ("_quantization_metadata" in file.metadata()) == (convention == "comfy")
    convert(tmp_path / "scaled", tmp_path / "wide", Conversion(dtype="fp16"))
    wide = safetensors.torch.load_file(tmp_path / "wide")
    assert wide.keys() == A.keys()
    assert wide[pico.MIDDLE].dtype == torch.float16


def test_formats_that_are_not_read_are_refused_before_work(tmp_path: Path) -> None:
    layer = pico.MIDDLE.removesuffix(".weight")
    note = torch.tensor(list(json.dumps({"format": "nvfp4"}).encode()), dtype=torch.uint8)
    save_tensors(tmp_path / "x", {**A, f"{layer}.comfy_quant": note}, {})
    with pytest.raises(Refused, match="'nvfp4'"):
        open_source(tmp_path / "x")


def test_averages_become_weights(tmp_path: Path) -> None:
    own = {key: value for key, value in A.items() if key.startswith("model.")}
    averages = {"model_ema." + key.removeprefix("model.").replace(".", ""): value + 1 for key, value in own.items()}
    result = converted(tmp_path, {**A, **averages, "model_ema.decay": torch.ones(())}, ema=True, prune=True)
    assert result.keys() == A.keys()
    assert all(torch.equal(result[key], A[key] + (key in own)) for key in A if key != pico.IDS)
    averages.popitem()
    with pytest.raises(Refused, match="1 tensors of the UNet have no moving average"):
        converted(tmp_path, {**A, **averages}, ema=True)


def test_nonfinite_values_stop_a_conversion_and_leave_nothing(tmp_path: Path) -> None:
    odd = {**A, pico.MIDDLE: A[pico.MIDDLE].float()}
    odd[pico.MIDDLE][3, 4] = 1e5
    with pytest.raises(Failed, match=r"does not fit into float16: it reaches 100000"):
        converted(tmp_path, odd, dtype="fp16")
    assert not (tmp_path / "out.safetensors").exists()
    odd[pico.MIDDLE][3, 4] = float("nan")
    with pytest.raises(Failed, match="holds NaN or infinities"):
        converted(tmp_path, odd)
    assert converted(tmp_path, odd, nonfinite="keep")[pico.MIDDLE].isnan().sum() == 1


def test_foreign_prefixes_are_made_canonical(tmp_path: Path) -> None:
    foreign = {
        "module." + pico.MIDDLE: A[pico.MIDDLE],
        "model." + pico.TIME: A[pico.TIME],
        pico.HEAD.removeprefix("model.diffusion_model."): A[pico.HEAD],
        pico.VAE.replace("first_stage_model.", "vae."): A[pico.VAE],
        pico.TEXT.replace("text_model.", ""): A[pico.TEXT],
    }
    result = converted(tmp_path, foreign)
    assert result.keys() == {pico.MIDDLE, pico.TIME, pico.HEAD, pico.VAE, pico.TEXT}
    assert all(torch.equal(result[key], A[key]) for key in result)


def test_a_part_of_another_family_is_renamed_or_refused(tmp_path: Path) -> None:
    one, two, xl = (family_tensors(name) for name in ("mini-sd1", "mini-sd2", "mini-sdxl"))
    for name, tensors in (("one", one), ("two", two), ("xl", xl)):
        save_tensors(tmp_path / name, tensors, {})
    convert(tmp_path / "xl", tmp_path / "mixed", Conversion(parts={"te1": tmp_path / "one"}))
    mixed = safetensors.torch.load_file(tmp_path / "mixed")
    assert mixed.keys() == xl.keys()
    key = "transformer.text_model.final_layer_norm.weight"
    assert torch.equal(mixed[f"conditioner.embedders.0.{key}"], one[f"cond_stage_model.{key}"])
    for whole, part in (("one", "two"), ("two", "one")):
        with pytest.raises(Refused, match="its text encoder does not fit"):
            convert(tmp_path / whole, tmp_path / "no", Conversion(parts={"te1": tmp_path / part}))
    with pytest.raises(Refused, match="its UNet does not fit"):
        convert(tmp_path / "one", tmp_path / "no", Conversion(parts={"unet": tmp_path / "xl"}))
    assert not (tmp_path / "no").exists()


def test_an_sdxl_file_is_marked_as_predicting_v(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a", family_tensors("mini-sdxl"), {"modelspec.prediction_type": "v"})
    convert(tmp_path / "a", tmp_path / "b", Conversion(zero_terminal_snr=True))
    assert {"v_pred", "ztsnr"} < safetensors.torch.load_file(tmp_path / "b").keys()
    convert(tmp_path / "b", tmp_path / "c", Conversion(predicts="eps"))
    with open_source(tmp_path / "c") as source:
        assert "v_pred" not in source.header.tensors
        assert source.header.metadata["modelspec.prediction_type"] == "epsilon"
        assert source.header.metadata["modelspec.sai_model_spec"] == "1.0.1"


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
    asked = ["convert", str(tmp_path / "in"), "-o", str(tmp_path / "out.safetensors"), "--dtype", "fp8_e5m2", "--prune"]
    assert main(asked) == 0
    shown = capsys.readouterr().out
    assert "dropped 2 tensors" in shown
    assert "24 weights in 8 bits" in shown
    assert main(asked) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "in"), "-o", str(tmp_path / "x"), "--scaled", "comfy"]) == 2
    assert "8-bit dtypes" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "in"), "-o", str(tmp_path / "out.ckpt")]) == 2
    assert "-o" in capsys.readouterr().err
    assert not (tmp_path / "out.ckpt").exists()


def test_a_converted_file_tells_what_it_came_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_tensors(tmp_path / "b.safetensors", B, {})
    made = {
        "modelspec.title": "x",
        "enogu.family": "sd1",
        "enogu.merge": json.dumps({"formula": "c + d", "models": {}}),
    }
    save_tensors(tmp_path / "in.safetensors", A, made)
    asked = ["convert", str(tmp_path / "in.safetensors"), "--vae", str(tmp_path / "b.safetensors"), "--dtype", "bf16"]
    assert main([*asked, "-o", str(tmp_path / "out.safetensors")]) == 0
    with safetensors.safe_open(tmp_path / "out.safetensors", "pt") as file:
        told = file.metadata()
    recipe = json.loads(told["enogu.convert"])
    assert recipe["change"] == {"dtype": "bf16"}
    assert recipe["models"]["source"] == {
        "sha256": hashlib.sha256((tmp_path / "in.safetensors").read_bytes()).hexdigest(),
        "title": "x",
        "merge": {"formula": "c + d", "models": {}},
    }
    assert recipe["models"]["vae"]["sha256"] == hashlib.sha256((tmp_path / "b.safetensors").read_bytes()).hexdigest()
    assert "enogu.merge" not in told  # the bytes are no longer those of that formula
    assert told["enogu.family"] == "sd1"
    capsys.readouterr()
    assert main(["inspect", str(tmp_path / "out.safetensors")]) == 0
    shown = capsys.readouterr().out
    assert "converted dtype=bf16" in shown
    assert "c + d" in shown
    assert main(["inspect", "--verify", str(tmp_path / "out.safetensors"), str(tmp_path / "in.safetensors")]) == 2
    assert "converted: verify its source" in capsys.readouterr().err
