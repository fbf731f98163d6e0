"""What a result is marked to predict: what its models agree on, and a warning only where they contradict each other."""

from pathlib import Path

import pytest
import torch

from enogu.core.networks.header import read_header
from enogu.core.networks.prediction import prediction
from enogu.core.networks.stream import save_tensors
from enogu.merge import stage
from enogu.merge.config import MergeConfig
from tests.merge import pico

V, ZERO = {"v_pred": torch.zeros(0)}, {"ztsnr": torch.zeros(0)}
EPS = {"modelspec.prediction_type": "epsilon"}
COMFY = {"modelspec.predict_key": "v", "modelspec.title": "c"}


@pytest.mark.parametrize(
    ("formula", "kind", "zero", "warned"),
    [
        ("0.5*silent + 0.5*quiet", "", False, False),
        ("0.5*silent + 0.5*v", "v", False, False),
        ("0.5*v + 0.5*silent", "v", False, False),
        ("0.5*comfy + 0.5*v", "v", False, False),
        ("silent + (v_zero - silent)", "v", True, False),
        ("0.5*eps + 0.5*v", "eps", False, True),
        ("0.5*v + 0.5*eps", "v", False, True),
        ("eps + 0.5*(v - comfy)", "eps", False, True),
        ("0.5*v + 0.5*v_zero", "v", False, True),
        ("v.te + eps.unet", "eps", False, False),
        ("eps.te + 0.5*(v + silent).unet", "v", False, False),
    ],
)
def test_a_result_predicts_what_its_unet_is_made_of(
    tmp_path: Path, formula: str, kind: str, zero: bool, warned: bool
) -> None:
    models = {
        "silent": ({}, {}),
        "quiet": ({}, {}),
        "v": (V, {}),
        "v_zero": (V | ZERO, {}),
        "eps": ({}, EPS),
        "comfy": ({}, COMFY),
    }
    for i, (name, (tensors, metadata)) in enumerate(models.items()):
        save_tensors(tmp_path / f"{name}.safetensors", pico.tensors(i) | tensors, metadata)
    files = {name: tmp_path / f"{name}.safetensors" for name in models if name in formula.replace("v_zero", "")}
    files |= {"v_zero": tmp_path / "v_zero.safetensors"} if "v_zero" in formula else {}
    plan, _ = stage.merge(MergeConfig(formula=formula), files, tmp_path / "out.safetensors")
    header = read_header(tmp_path / "out.safetensors")
    told = prediction(header)
    assert (told.kind, told.zero_terminal_snr) == (kind, zero)
    spec = header.metadata.get("modelspec.prediction_type")
    assert spec == {"": None, "eps": "epsilon", "v": "v"}[kind]
    assert "modelspec.predict_key" not in header.metadata
    assert any("differ in what they predict" in warning for warning in plan.warnings) == warned
    assert ("v_pred" in header.tensors) == (kind == "v")


def test_what_no_model_says_is_said_once_and_warned_of_never(tmp_path: Path) -> None:
    files = pico.write(tmp_path, a=pico.tensors(0), b=pico.tensors(1) | V)
    plan, _ = stage.planned(MergeConfig(formula="0.5*a + 0.5*b"), files)
    assert str(plan.objective) == "v, b says so (marker v_pred); a: not said"
    plan, _ = stage.planned(MergeConfig(formula="a"), files)
    assert str(plan.objective) == "not said by any model"
    assert not [warning for warning in plan.warnings if "predict" in warning]
