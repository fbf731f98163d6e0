"""`enogu inspect`: a file's parts, damage, hashes and ancestry; the difference of two; whether a recipe is true."""

import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from enogu.cli import main
from enogu.core.networks.family import family
from enogu.core.networks.identity import identify
from enogu.core.networks.layouts import layout
from enogu.core.networks.model import StableDiffusion
from enogu.core.networks.prediction import TELLTALE
from enogu.core.networks.stream import save_tensors
from enogu.merge import stage
from enogu.merge.ancestry import ancestry
from enogu.merge.chart import Measure
from enogu.merge.config import MergeConfig
from enogu.merge.difference import compare
from enogu.merge.inspection import inspect, report
from tests.merge import pico

A, B, C = (pico.tensors(seed) for seed in range(3))


@pytest.fixture(scope="module")
def mini() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model = StableDiffusion(family("mini-sd1"))
    return {key: value.half() for key, value in model.state_dict().items()}


def test_a_sound_checkpoint_is_described(mini: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "mini.safetensors"
    save_tensors(path, {**mini, "v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, {"modelspec.hash_sha256": "0x12"})
    found = inspect(path)
    assert found["family"] == "mini-sd1"
    assert found["prediction"] == {"kind": "v", "zero_terminal_snr": True, "from": "marker v_pred"}
    assert {name: part["tensors"] for name, part in found["components"].items()} == {
        "unet": 684, "te1": 36, "vae": 252, "other": 2,
    }  # fmt: skip
    assert not any(part["missing"] or part["unexpected"] for part in found["components"].values())
    assert found["damage"] == []
    raw = path.read_bytes()
    assert found["hashes"]["sha256"] == hashlib.sha256(raw).hexdigest()
    assert found["hashes"]["AutoV2"] == hashlib.sha256(raw).hexdigest()[:10]
    assert found["hashes"]["AutoV1"] == hashlib.sha256(raw[0x100000:0x110000]).hexdigest()[:8]
    data = raw[8 + int.from_bytes(raw[:8], "little") :]
    assert found["hashes"]["AutoV3"] == hashlib.sha256(data).hexdigest()[:12]
    assert found["hashes"]["modelspec.hash_sha256"].startswith("false")


def test_damage_is_named(mini: dict[str, torch.Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = dict(mini)
    del broken["first_stage_model.quant_conv.bias"]
    broken["model.diffusion_model.out.2.bias"] = torch.tensor([0.0, float("nan"), 1.0, float("inf")]).half()
    broken["model.diffusion_model.time_embed.0.bias"] = torch.zeros(7)
    broken["model.diffusion_model.odd"] = torch.zeros(7)
    broken[pico.IDS] = torch.arange(77).half()[None] * 0.5
    path = tmp_path / "broken.safetensors"
    save_tensors(path, broken, {})
    found = inspect(path)
    assert found["components"]["vae"]["missing"] == ["first_stage_model.quant_conv.bias"]
    assert found["components"]["unet"]["misshapen"] == ["model.diffusion_model.time_embed.0.bias"]
    assert found["components"]["unet"]["unexpected"] == ["model.diffusion_model.odd"]
    damage = {item["key"]: item["what"] for item in found["damage"]}
    assert damage["model.diffusion_model.out.2.bias"] == "2 of 4 elements are NaN or infinite"
    assert damage[pico.IDS] == "position ids are F16 and run from 0 to 38"
    assert main(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "missing: first_stage_model.quant_conv.bias" in shown
    assert "damaged: model.diffusion_model.out.2.bias" in shown


def test_a_component_is_known_by_its_content_alone(mini: dict[str, torch.Tensor], tmp_path: Path) -> None:
    vae = {key: value for key, value in mini.items() if key.startswith("first_stage_model.")}
    save_tensors(tmp_path / "vae", vae, {})
    save_tensors(tmp_path / "all", mini, {"x": "y"})
    assert identify(tmp_path / "vae").components["vae"] == identify(tmp_path / "all").components["vae"]


def test_two_files_are_compared_by_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = {
        **A,
        pico.MIDDLE: -2 * A[pico.MIDDLE],
        pico.TEXT: A[pico.TEXT].clone().index_fill_(0, torch.tensor(3), 7),
    }
    del changed[pico.HEAD]
    files = pico.write(tmp_path, a=A, b=changed)
    drawn = tmp_path / "picture.svg"
    assert main(["inspect", str(files["a"]), str(files["b"]), "--json", "--picture", str(drawn)]) == 0
    found = json.loads(capsys.readouterr().out)
    groups: dict[tuple[str, str], dict[str, Any]] = {(g["component"], g["block"]): g for g in found["groups"]}
    middle = groups["unet", "M00"]
    assert middle["relative"] == pytest.approx(3.0)
    assert middle["cosine"] == pytest.approx(-1.0)
    assert (middle["signs"], middle["changed"]) == (0.0, 1.0)
    assert groups["te1", ""]["changed"] == pytest.approx(1 / 17)
    assert groups["unet", "IN04"]["l2"] == 0.0
    assert found["only_first"] == [pico.HEAD]
    assert drawn.read_text().startswith("<svg")
    assert main(["inspect", str(files["a"]), str(files["b"])]) == 0
    assert "M00" in capsys.readouterr().out


def test_what_is_the_same_is_exactly_the_same(tmp_path: Path) -> None:
    files = pico.write(tmp_path, a=A, b=A)
    groups = compare(files["a"], files["b"])["groups"]
    assert {group["cosine"] for group in groups} == {1.0}


def test_small_shares_are_told_in_percent_like_large_ones() -> None:
    words = {Measure("", "x").words({"x": value}) for value in (0.25, 0.0, 6.3e-5, 4.4e-7)}
    assert words == {"25.00%", "0.00%", "0.0063%", "4.4e-05%"}


def test_differences_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = {**B, pico.MIDDLE: B[pico.MIDDLE].clone()}
    odd[pico.MIDDLE][0, 0] = float("nan")
    files = pico.write(tmp_path, a=A, b=odd)
    pair = [str(files["a"]), str(files["b"])]
    assert main(["inspect", *pair, "--picture", str(tmp_path / "x.png")]) == 0
    assert "1 elements are NaN" in capsys.readouterr().out
    with Image.open(tmp_path / "x.png") as image:
        grey = np.asarray(image.convert("L"))
    bars = (grey < 160).mean(axis=1)
    assert (bars[128:] > 0.05).sum() > 0.5 * len(bars[128:])  # a row of bars for every block
    assert main(["inspect", *pair, "--picture", str(tmp_path / "x.gif")]) == 2
    assert main(["inspect", pair[0], "--picture", str(tmp_path / "y.png")]) == 2
    assert not (tmp_path / "y.png").exists()


def test_a_reader_that_has_read_enough_is_no_error(tmp_path: Path) -> None:
    pico.write(tmp_path, a=A)
    command = [sys.executable, "-m", "enogu", "inspect", "--json", "--quick", str(tmp_path / "a.safetensors")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_several_files_are_told_one_after_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = pico.write(tmp_path, a=A, b=B, c=C)
    assert main(["inspect", *map(str, files.values())]) == 0
    assert [name in capsys.readouterr().out for name in ("a.safetensors",)] == [True]


def test_averages_scales_and_zeros_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = {key: value for key, value in A.items() if key.startswith("model.")}
    averages = {"model_ema." + key.removeprefix("model.").replace(".", ""): value for key, value in own.items()}
    layer = pico.MIDDLE.removesuffix(".weight")
    scaled = {pico.MIDDLE: A[pico.MIDDLE].to(torch.float8_e4m3fn), f"{layer}.scale_weight": torch.tensor(0.5)}
    made = {**A, **averages, **scaled, pico.HEAD: torch.zeros_like(A[pico.HEAD]), "model_ema.decay": torch.ones(())}
    save_tensors(tmp_path / "x.safetensors", made, {"modelspec.title": "t" * 200})
    assert main(["inspect", str(tmp_path / "x.safetensors")]) == 0
    shown = capsys.readouterr().out
    assert f"{len(own) + 1} tensors of a moving average of the UNet, a whole copy" in shown
    assert "1 weights in 8 bits with scales" in shown
    assert "1 F8_E4M3 scaled)" in shown
    assert f"1 weights are nothing but zeros, such as {pico.HEAD}" in shown
    assert f"modelspec.title: {'t' * 80}..." in shown
    save_tensors(tmp_path / "x.safetensors", made, {"modelspec.title": "\x1b[31mred\n彩"})
    assert r"modelspec.title: \x1b[31mred\n彩" in report(inspect(tmp_path / "x.safetensors", deep=False))


def test_one_component_in_32_and_in_16_bits_is_known_by_its_values(tmp_path: Path) -> None:
    pico.write(
        tmp_path, a=A, b={key: value.float() if value.is_floating_point() else value for key, value in A.items()}
    )
    a, b = (identify(tmp_path / f"{name}.safetensors") for name in "ab")
    assert a.contents == b.contents
    assert a.components["vae"] != b.components["vae"]


def test_a_text_encoder_is_known_without_what_some_files_leave_out(tmp_path: Path) -> None:
    prefix = "conditioner.embedders.1.model."
    text = {prefix + "ln_final.weight": torch.rand(8).half(), prefix + "ln_final.bias": torch.rand(8).half()}
    save_tensors(tmp_path / "whole", {**text, prefix + "logit_scale": torch.tensor(4.6)}, {})
    save_tensors(tmp_path / "short", text, {})
    whole, short = (identify(tmp_path / name) for name in ("whole", "short"))
    assert whole.contents == short.contents
    assert whole.components != short.components


def test_tensors_at_odd_places_are_the_same(tmp_path: Path) -> None:
    save_tensors(tmp_path / "even", A, {})
    raw = (tmp_path / "even").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    (tmp_path / "odd").write_bytes((length + 1).to_bytes(8, "little") + raw[8 : 8 + length] + b" " + raw[8 + length :])
    even, odd = (inspect(tmp_path / name) for name in ("even", "odd"))
    assert even["components"] == odd["components"]
    assert even["hashes"]["data_sha256"] == odd["hashes"]["data_sha256"]


def test_a_file_of_less_than_a_mebibyte_has_no_legacy_hash(tmp_path: Path) -> None:
    save_tensors(tmp_path / "x", A, {})
    assert inspect(tmp_path / "x")["hashes"]["AutoV1"] == ""


def test_foreign_names_are_told_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_tensors(tmp_path / "x.safetensors", {f"module.{key}": tensor for key, tensor in A.items()}, {})
    assert main(["inspect", "--quick", str(tmp_path / "x.safetensors")]) == 0
    first = min(A)
    assert f"{len(A)} tensors under foreign names, such as module.{first} for {first}" in capsys.readouterr().out


def test_sd2_tells_v_by_its_weights(tmp_path: Path) -> None:
    shapes = dict(layout("sd2").components["unet"])
    few = {key: torch.zeros(shape) for key, shape in shapes.items() if math.prod(shape) < 4000 or "blocks.1.1." in key}
    for spread, kind in ((0.2, "v"), (0.01, "eps")):
        few[TELLTALE] = torch.linspace(-1, 1, 320) * spread
        save_tensors(tmp_path / "x", few, {})
        found = inspect(tmp_path / "x", deep=False)
        assert (found["family"], found["prediction"]["kind"]) == ("sd2", kind)
    assert found["architecture"] == "stable-diffusion-v2-512"


def test_a_recipe_is_verified_from_the_parents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = pico.write(tmp_path, a=A, b=B, c=C)
    out = tmp_path / "out.safetensors"
    formula = "a + ties([b - a, c - a], keep=0.3) + 0.1*mean(dare(b - a), c - a)"
    stage.merge(MergeConfig(formula=formula, dtype="bf16", seed=3), files, out)
    asked = ["inspect", str(out), "--verify", *map(str, reversed(files.values())), "--sample", "0"]
    assert main(asked) == 0
    assert "30 of 30 tensors recomputed" in capsys.readouterr().out
    raw = bytearray(out.read_bytes())
    raw[-1] ^= 1
    out.write_bytes(raw)
    assert main(asked) == 1
    assert "is not what the recipe makes" in capsys.readouterr().out
    assert main(["inspect", "--verify", str(out), str(files["a"])]) == 2
    assert "are not: b (sha256" in capsys.readouterr().err
    assert main(["inspect", "--verify", str(files["a"])]) == 2


def test_ancestry_is_a_tree_whoever_merged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = pico.write(tmp_path, a=A, b=B)
    child, next_ = tmp_path / "child.safetensors", tmp_path / "next.safetensors"
    stage.merge(MergeConfig(formula="0.5*a + 0.5*b"), files, child)
    stage.merge(MergeConfig(formula="0.2*child + 0.8*a"), {"child": child, "a": files["a"]}, next_)
    assert main(["inspect", str(next_), "--quick"]) == 0
    shown = capsys.readouterr().out
    assert "made as 0.2*child + 0.8*a" in shown
    assert shown.count("a (A)") == 2
    webui = {"type": "webui", "primary_model_hash": "aa", "secondary_model_hash": "bb", "interp_method": "Weighted sum"}
    known = {"aa": {"name": "x", "sd_merge_recipe": {**webui, "secondary_model_hash": None}}, "bb": {"name": "y"}}
    tree = ancestry({"sd_merge_recipe": json.dumps(webui), "sd_merge_models": json.dumps(known)})
    assert tree is not None
    assert [parent["name"] for parent in tree["parents"]] == ["x", "y"]
    assert tree["parents"][0]["parents"][0] == {"name": "x", "sha256": "aa", "parents": []}
    assert ancestry({"sd_merge_recipe": "{broken"}) is not None
    assert ancestry({}) is None
