"""Adapters baked into small checkpoints, against formulas written out in float64; names, bytes and bad files."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from enogu.cli import main
from enogu.core.networks.keys import place
from enogu.core.networks.layouts import layouts
from enogu.core.networks.stream import save_tensors
from enogu.core.records.errors import Refused
from enogu.merge import stage
from enogu.merge.adapters.adapter import Adapter
from enogu.merge.adapters.lists import ATTENTION
from enogu.merge.adapters.names import names
from enogu.merge.blocks import block_weights
from enogu.merge.config import MergeConfig
from enogu.merge.engine import Engine
from enogu.merge.inputs import open_inputs
from enogu.merge.inspection import inspect, report
from enogu.merge.plan import make_plan
from enogu.merge.verify import verify

UNET = "model.diffusion_model."
CONV = f"{UNET}input_blocks.4.0.in_layers.2"
LINEAR = f"{UNET}input_blocks.4.1.transformer_blocks.0.attn1.to_q"
POINT = f"{UNET}output_blocks.3.1.proj_in"
NORM = f"{UNET}input_blocks.4.1.norm"
CLIP = "conditioner.embedders.0.transformer.text_model.encoder.layers.0.mlp.fc1"
OPEN = "conditioner.embedders.1.model."
SHAPES = {
    f"{CONV}.weight": (6, 5, 3, 3),
    f"{CONV}.bias": (6,),
    f"{LINEAR}.weight": (6, 8),
    f"{POINT}.weight": (6, 8, 1, 1),
    f"{NORM}.weight": (6,),
    f"{NORM}.bias": (6,),
    f"{CLIP}.weight": (12, 4),
    f"{OPEN}transformer.resblocks.0.attn.in_proj_weight": (12, 4),
    f"{OPEN}transformer.resblocks.0.attn.in_proj_bias": (12,),
    f"{OPEN}text_projection": (4, 5),
    "first_stage_model.decoder.conv_in.weight": (4, 2, 3, 3),
}
NAMES = {
    CONV: "lora_unet_input_blocks_4_0_in_layers_2",
    LINEAR: "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
    POINT: "lora_unet_output_blocks_3_1_proj_in",
    NORM: "lora_unet_input_blocks_4_1_norm",
    CLIP: "lora_te1_text_model_encoder_layers_0_mlp_fc1",
}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape) + 1000 * seed)) * 0.5


def checkpoint(dtype: torch.dtype = torch.float32, seed: int = 7) -> dict[str, Tensor]:
    return {key: noise(*shape, seed=seed).to(dtype) for key, shape in SHAPES.items()}


def file(folder: Path, name: str, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    save_tensors(folder / f"{name}.safetensors", tensors, metadata or {})
    return folder / f"{name}.safetensors"


def named(module: str, parts: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{NAMES.get(module, module)}.{part}": value for part, value in parts.items()}


def change(folder: Path, key: str, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> np.ndarray:
    files = {"base": file(folder, "base", checkpoint()), "style": file(folder, "style", tensors, metadata)}
    with open_inputs(files, dtype=torch.float64) as readers:
        adapter = readers["style"]
        assert isinstance(adapter, Adapter)
        return adapter.tensor(key).numpy()


def baked(folder: Path, formula: str, tensors: dict[str, Tensor], **options: str) -> dict[str, Tensor]:
    files = {"base": file(folder, "base", checkpoint()), "style": file(folder, "style", tensors)}
    stage.merge(MergeConfig(formula=formula, **options), files, folder / "out.safetensors")
    return safetensors.torch.load_file(folder / "out.safetensors")


# --- the change that each kind means: parts, and the formula in the plainest numpy


def lora(linear: bool) -> tuple[dict[str, Tensor], Callable[..., np.ndarray]]:
    if linear:
        parts = {"lora_up.weight": noise(6, 3), "lora_down.weight": noise(3, 8), "alpha": torch.tensor(1.5)}
        return parts, lambda up, down, alpha: up @ down * 0.5
    parts = {"lora_up.weight": noise(6, 3, 1, 1), "lora_down.weight": noise(3, 5, 3, 3), "alpha": torch.tensor(6.0)}
    return parts, lambda up, down, alpha: np.einsum("orab,rikl->oikl", up, down) * 2.0


def locon() -> tuple[dict[str, Tensor], Callable[..., np.ndarray]]:
    parts = {
        "lora_up.weight": noise(6, 3, 1, 1),
        "lora_down.weight": noise(3, 5, 1, 1),
        "lora_mid.weight": noise(3, 3, 3, 3),
    }
    return parts, lambda up, down, mid: np.einsum("op,pqkl,qi->oikl", up[:, :, 0, 0], mid, down[:, :, 0, 0])


def loha(core: bool) -> tuple[dict[str, Tensor], Callable[..., np.ndarray]]:
    if not core:
        parts = {"hada_w1_a": noise(6, 2), "hada_w1_b": noise(2, 8), "hada_w2_a": noise(6, 2, seed=1)}
        parts |= {"hada_w2_b": noise(2, 8, seed=1), "alpha": torch.tensor(1.0)}
        return parts, lambda a, b, c, d, alpha: (a @ b) * (c @ d) * 0.5
    parts = {"hada_w1_a": noise(2, 6), "hada_w1_b": noise(2, 5), "hada_w2_a": noise(2, 6, seed=1)}
    parts |= {"hada_w2_b": noise(2, 5, seed=1), "hada_t1": noise(2, 2, 3, 3), "hada_t2": noise(2, 2, 3, 3, seed=1)}

    def half(t: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.einsum("pqkl,po,qi->oikl", t, a, b)

    return parts, lambda a, b, c, d, t1, t2: half(t1, a, b) * half(t2, c, d)


def lokr(kind: str) -> tuple[dict[str, Tensor], Callable[..., np.ndarray]]:
    alpha = {"alpha": torch.tensor(4.0)}
    if kind == "whole":  # alpha means nothing where both factors are whole
        return {"lokr_w1": noise(2, 4), "lokr_w2": noise(3, 2), **alpha}, lambda a, b, alpha: np.kron(a, b)
    if kind == "low rank":
        parts = {"lokr_w1_a": noise(2, 1), "lokr_w1_b": noise(1, 4), "lokr_w2_a": noise(3, 1), "lokr_w2_b": noise(1, 2)}
        return {**parts, **alpha}, lambda a, b, c, d, alpha: np.kron(a @ b, c @ d) * 4.0
    if kind == "convolution":
        parts = {"lokr_w1": noise(2, 1), "lokr_w2": noise(3, 5, 3, 3)}
        return parts, lambda a, b: np.kron(a[:, :, None, None], b)
    parts = {"lokr_w1": noise(2, 1), "lokr_w2_a": noise(2, 3), "lokr_w2_b": noise(2, 5), "lokr_t2": noise(2, 2, 3, 3)}
    return {
        **parts,
        **alpha,
    }, lambda w, a, b, t, alpha: 2.0 * np.kron(w[:, :, None, None], np.einsum("pqkl,po,qi->oikl", t, a, b))


KINDS = {
    "LoRA": (LINEAR, lora(True)),
    "LoRA of a convolution": (CONV, lora(False)),
    "LoRA of a convolution of one point": (POINT, lora(True)),
    "LoCon with a core": (CONV, locon()),
    "LoHa": (LINEAR, loha(False)),
    "LoHa with a core": (CONV, loha(True)),
    "LoKr, both whole": (LINEAR, lokr("whole")),
    "LoKr of low rank": (LINEAR, lokr("low rank")),
    "LoKr of a convolution": (CONV, lokr("convolution")),
    "LoKr with a core": (CONV, lokr("core")),
    "full": (CONV, ({"diff": noise(6, 5, 3, 3)}, lambda diff: diff)),
    "norm": (NORM, ({"w_norm": noise(6)}, lambda diff: diff)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_means_its_formula(tmp_path: Path, kind: str) -> None:
    module, (parts, formula) = KINDS[kind]
    expected = formula(*(part.double().numpy() for part in parts.values()))
    found = change(tmp_path, f"{module}.weight", named(module, parts))
    np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-12, atol=1e-14)


def test_baking_rounds_once(tmp_path: Path) -> None:
    parts, formula = lora(True)
    style = {key: value.half() for key, value in named(LINEAR, parts).items()}
    result = baked(tmp_path, "base + 0.8*style", style, dtype="fp16", precision="fp64")
    exact = formula(*(part.half().double().numpy() for part in parts.values()))
    expected = torch.from_numpy(checkpoint()[f"{LINEAR}.weight"].double().numpy() + 0.8 * exact).half()
    assert torch.equal(result[f"{LINEAR}.weight"], expected)
    for key in SHAPES.keys() - {f"{LINEAR}.weight"}:
        assert torch.equal(result[key], checkpoint()[key].half()), key


def test_biases_and_norms_are_added(tmp_path: Path) -> None:
    style = {**named(CONV, {"diff": noise(6, 5, 3, 3), "diff_b": noise(6)}), **named(NORM, {"b_norm": noise(6)})}
    result = baked(tmp_path, "base + 0.5*style", style)
    for key in (f"{CONV}.bias", f"{NORM}.bias"):
        torch.testing.assert_close(result[key], checkpoint()[key] + 0.5 * noise(6), rtol=1e-6, atol=1e-7)
    assert torch.equal(result[f"{NORM}.weight"], checkpoint()[f"{NORM}.weight"])


# --- DoRA


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("module", [LINEAR, CONV])
def test_dora_gives_each_channel_its_learnt_size(tmp_path: Path, module: str, axis: int) -> None:
    parts, formula = lora(module == LINEAR)
    weight = checkpoint()[f"{module}.weight"].double().numpy()
    sizes = np.abs(noise(weight.shape[axis], seed=3).double().numpy()) + 0.5
    shape = [1] * weight.ndim
    shape[axis] = -1
    scale = {"dora_scale": torch.from_numpy(sizes.reshape(shape)).float()}
    result = baked(tmp_path, "base + 0.6*style", named(module, {**parts, **scale}), precision="fp64")
    changed = weight + formula(*(part.double().numpy() for part in parts.values()))
    for channel in range(weight.shape[axis]):
        own = np.take(changed, channel, axis)
        before = np.take(weight, channel, axis)
        expected = before + 0.6 * (own / np.sqrt((own**2).sum()) * np.float32(sizes[channel]) - before)
        found = np.take(result[f"{module}.weight"].numpy(), channel, axis)
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("axis", [0, 1])
def test_dora_of_a_third_and_of_a_weight_that_lies_turned(tmp_path: Path, axis: int) -> None:
    weight = {key: value.double().numpy() for key, value in checkpoint().items()}
    third, turned = f"{OPEN}transformer.resblocks.0.attn.in_proj_weight", f"{OPEN}text_projection"
    shapes = {"text_model_encoder_layers_0_self_attn_k_proj": (4, 4), "text_projection": (5, 4)}
    style = {}
    for name, (rows, columns) in shapes.items():
        style |= named(f"lora_te2_{name}", {"lora_up.weight": noise(rows, 2), "lora_down.weight": noise(2, columns)})
        style[f"lora_te2_{name}.dora_scale"] = torch.ones((rows, 1) if axis == 0 else (1, columns))
    result = {key: value.double().numpy() for key, value in baked(tmp_path, "base + style", style).items()}
    for found, before, (rows, columns) in (
        (result[third][4:8], weight[third][4:8], (4, 4)),
        (result[turned].T, weight[turned].T, (5, 4)),
    ):
        changed = before + (noise(rows, 2) @ noise(2, columns)).double().numpy()
        expected = changed / np.sqrt((changed**2).sum(1 - axis, keepdims=True))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(result[third][:4], weight[third][:4])


def test_dora_sees_the_merged_weight(tmp_path: Path) -> None:
    parts, _ = lora(True)
    sizes = noise(6, 1, seed=2).abs() + 1.0
    style = named(LINEAR, {**parts, "dora_scale": sizes})
    files = {"a": file(tmp_path, "a", checkpoint(seed=1)), "b": file(tmp_path, "b", checkpoint(seed=2))}
    files["style"] = file(tmp_path, "style", style)
    stage.merge(MergeConfig(formula="0.5*a + 0.5*b + style"), files, tmp_path / "out.safetensors")
    found = safetensors.torch.load_file(tmp_path / "out.safetensors")[f"{LINEAR}.weight"]
    np.testing.assert_allclose(found.norm(dim=1), sizes[:, 0], rtol=1e-5)


def test_dora_with_nothing_to_act_on_is_refused(tmp_path: Path) -> None:
    style = named(LINEAR, {**lora(True)[0], "dora_scale": noise(6, 1).abs()})
    with pytest.raises(Refused, match="write BASE"):
        baked(tmp_path, "base + truncate_rank(style, 2)", style)


# --- names


@pytest.mark.parametrize(
    ("up", "down"),
    [
        ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q.lora_up.weight", "lora_down"),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.lora_B.weight", "lora_A"),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.up.weight", "down"),
        ("diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_q.lora_up.weight", "lora_down"),
        ("lycoris_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q.lora_up.weight", "lora_down"),
        ("base_model.model.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.lora_B.weight", "lora_A"),
    ],
)
def test_every_spelling_finds_its_place(tmp_path: Path, up: str, down: str) -> None:
    word = {"lora_down": "lora_up", "lora_A": "lora_B", "down": "up"}[down]
    found = change(tmp_path, f"{LINEAR}.weight", {up: noise(6, 3), up.replace(word, down): noise(3, 8)})
    np.testing.assert_allclose(found, (noise(6, 3).double() @ noise(3, 8).double()).numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    "name",
    [
        "lora_te1_text_model_encoder_layers_0_mlp_fc1",
        "text_encoder.text_model.encoder.layers.0.mlp.fc1",
        "text_encoder.encoder.layers.0.mlp.fc1",
        "conditioner.embedders.0.transformer.text_model.encoder.layers.0.mlp.fc1",
    ],
)
def test_text_encoders_are_spelt_as_any_transformers_does(tmp_path: Path, name: str) -> None:
    style = {f"{name}.lora_B.weight": noise(12, 2), f"{name}.lora_A.weight": noise(2, 4)}
    found = change(tmp_path, f"{CLIP}.weight", style)
    np.testing.assert_allclose(found, (noise(12, 2).double() @ noise(2, 4).double()).numpy(), rtol=1e-12)


# sha256 of "name [shape]" lines of every weight of diffusers 0.42.1's UNet2DConditionModel in the two configurations
@pytest.mark.parametrize(
    ("family", "digest"),
    [
        ("sd1", "087e2650ae0f22f085f301525f328aef39a55c0e074cf0161805fac3b74fe2b6"),
        ("sdxl", "3491563f332128653f3cb7215f8534954edf474ae3304f64f1a0c44ffb481df8"),
    ],
)
def test_the_unets_names_are_those_of_diffusers(family: str, digest: str) -> None:
    spelt = names(layouts()[family].shapes).spelt
    lines = sorted(f"{words[0]} {list(site.shape)}" for site, words in spelt.items() if site.weight.startswith(UNET))
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == digest


def test_the_second_text_encoder_speaks_of_thirds(tmp_path: Path) -> None:
    key = f"{OPEN}transformer.resblocks.0.attn.in_proj_weight"
    style, expected = {}, np.zeros((12, 4))
    for third, name in enumerate(("q_proj", "k_proj", "v_proj")):
        if name != "k_proj":
            module = f"lora_te2_text_model_encoder_layers_0_self_attn_{name}"
            up, down = noise(4, 2, seed=third), noise(2, 4, seed=third)
            style |= {f"{module}.lora_up.weight": up, f"{module}.lora_down.weight": down}
            expected[4 * third : 4 * third + 4] = (up.double() @ down.double()).numpy()
    np.testing.assert_allclose(change(tmp_path, key, style), expected, rtol=1e-12)
    projection = {"lora_te2_text_projection.lora_up.weight": noise(5, 2)}
    projection |= {"lora_te2_text_projection.lora_down.weight": noise(2, 4)}
    found = change(tmp_path, f"{OPEN}text_projection", projection)
    np.testing.assert_allclose(found, (noise(5, 2).double() @ noise(2, 4).double()).numpy().T, rtol=1e-12)


def test_peft_keeps_alpha_in_the_header(tmp_path: Path) -> None:
    module = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    style = {f"{module}.lora_B.weight": noise(6, 4), f"{module}.lora_A.weight": noise(4, 8)}
    settings = {"unet.r": 4, "unet.lora_alpha": 8}
    plain = noise(6, 4).double() @ noise(4, 8).double()
    for more, factor in (({}, 2.0), ({"unet.use_rslora": True}, 4.0)):
        metadata = {"lora_adapter_metadata": json.dumps({**settings, **more})}
        found = change(tmp_path, f"{LINEAR}.weight", style, metadata)
        np.testing.assert_allclose(found, factor * plain.numpy(), rtol=1e-12)


def test_peft_keeps_alpha_beside_the_file(tmp_path: Path) -> None:
    module = "base_model.model.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    style = {f"{module}.lora_B.weight": noise(6, 4), f"{module}.lora_A.weight": noise(4, 8)}
    settings = {"r": 4, "lora_alpha": 2, "use_rslora": False, "alpha_pattern": {}, "rank_pattern": {}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    plain = noise(6, 4).double() @ noise(4, 8).double()
    np.testing.assert_allclose(change(tmp_path, f"{LINEAR}.weight", style), 0.5 * plain.numpy(), rtol=1e-12)


def test_a_missing_alpha_is_told(tmp_path: Path) -> None:
    parts, _ = lora(True)
    files = {"base": file(tmp_path, "base", checkpoint())}
    files["style"] = file(tmp_path, "style", named(LINEAR, {k: v for k, v in parts.items() if k != "alpha"}))
    plan = make_plan(MergeConfig(formula="base + style"), stage.read_headers(files))
    assert "style: 1 modules have no alpha; it is taken for their rank (scale 1)" in plan.warnings


# --- in formulas


def test_adapters_are_differences_in_formulas(tmp_path: Path) -> None:
    style = {**named(LINEAR, lora(True)[0]), **named(CLIP, {"diff": noise(12, 4)})}
    whole = baked(tmp_path, "base + style", style)
    text = baked(tmp_path, "base + style.te", style)
    assert torch.equal(text[f"{LINEAR}.weight"], checkpoint()[f"{LINEAR}.weight"])
    assert torch.equal(text[f"{CLIP}.weight"], whole[f"{CLIP}.weight"])
    voted = baked(tmp_path, "ties(base, style, keep=1)", style)
    torch.testing.assert_close(voted[f"{LINEAR}.weight"], whole[f"{LINEAR}.weight"])
    with pytest.raises(Refused, match="add it to one"):
        baked(tmp_path, "style", style)
    with pytest.raises(Refused, match=r"sum to 0\.5"):
        baked(tmp_path, "0.5*base + style", style)


def test_the_plan_copies_what_the_adapter_leaves_alone(tmp_path: Path) -> None:
    files = {"style": file(tmp_path, "style", named(LINEAR, lora(True)[0])), "base": file(tmp_path, "b", checkpoint())}
    plan = make_plan(MergeConfig(formula="0.8*style + base"), stage.read_headers(files))
    merged = {item.key: str(item.result) for item in plan.keys if item.action == "merged"}
    assert merged == {f"{LINEAR}.weight": "base + 0.8*style"}
    assert all(item.action == "copied" for item in plan.keys if item.key not in merged)


@pytest.mark.parametrize("formula", ["base + 0.7*style", "base + 0.7*style + 0.3*dora"])
def test_threads_and_pieces_change_no_byte(tmp_path: Path, formula: str) -> None:
    torch.manual_seed(0)
    base = {f"{LINEAR}.weight": torch.randn(700, 640).half(), f"{CONV}.weight": torch.randn(430, 70, 3, 3).half()}
    style = {f"{NAMES[LINEAR]}.lora_up.weight": torch.randn(700, 20), f"{NAMES[CONV]}.diff": torch.randn(430, 70, 3, 3)}
    style[f"{NAMES[LINEAR]}.lora_down.weight"] = torch.randn(20, 640)
    dora = {**style, f"{NAMES[CONV]}.dora_scale": torch.rand(1, 70, 1, 1) * 20.0}
    dora[f"{NAMES[LINEAR]}.dora_scale"] = torch.rand(700, 1) * 20.0
    files = {name: file(tmp_path, name, it) for name, it in (("base", base), ("style", style), ("dora", dora))}
    plan = make_plan(MergeConfig(formula=formula), stage.read_headers(files))
    digests = set()
    for threads, piece, memory in ((1, 1 << 16, 1 << 27), (2, 1000, 1 << 20), (8, 1 << 20, 1 << 22), (2, 7, 1 << 10)):
        out = tmp_path / f"{threads}-{piece}.safetensors"
        digests.add(Engine(threads=threads, piece=piece, memory=memory).run(plan, files, out).data_sha256)
    assert len(digests) == 1


def test_a_baked_file_can_be_verified(tmp_path: Path) -> None:
    baked(tmp_path, "base + 0.8*style", named(LINEAR, lora(True)[0]))
    verdict = verify(tmp_path / "out.safetensors", [tmp_path / "style.safetensors", tmp_path / "base.safetensors"])
    assert verdict.holds
    assert verdict.checked == len(SHAPES)


# --- bad files


def test_an_adapter_of_another_family_is_refused_and_its_family_named(tmp_path: Path) -> None:
    shapes = layouts()["sd1"].shapes
    module = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    style = {f"{module}.lora_up.weight": noise(320, 2), f"{module}.lora_down.weight": noise(2, 768)}
    assert f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight" in shapes
    with pytest.raises(Refused, match="no place in the model; 1 of its 1 modules would fit sd1"):
        baked(tmp_path, "base + style", style)


def test_a_misshapen_module_is_refused(tmp_path: Path) -> None:
    parts = {"lora_up.weight": noise(6, 3), "lora_down.weight": noise(3, 9)}
    with pytest.raises(Refused, match="6 × 9"):
        baked(tmp_path, "base + style", named(LINEAR, parts))


def test_factors_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    parts = {"lora_up.weight": noise(6, 3), "lora_down.weight": noise(4, 8)}
    with pytest.raises(Refused, match="do not fit together"):
        baked(tmp_path, "base + style", named(LINEAR, parts))


def test_a_lost_half_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="damaged"):
        baked(tmp_path, "base + style", named(LINEAR, {"lora_up.weight": noise(6, 3)}))


def test_unknown_modules_and_kinds_are_named_and_counted(tmp_path: Path) -> None:
    style = {**named(LINEAR, lora(True)[0]), **named(CONV, {"diff": noise(6, 5, 3, 3)})}
    style |= {"lora_unet_elsewhere.diff": noise(4), "lora_te1_x.oft_blocks": noise(4), "emb_params": noise(2, 3)}
    files = {"base": file(tmp_path, "base", checkpoint()), "style": file(tmp_path, "style", style)}
    plan = make_plan(MergeConfig(formula="base + style"), stage.read_headers(files))
    assert "style: 1 of 3 modules have no place in the model: lora_unet_elsewhere" in plan.warnings
    assert "style: 1 tensors of OFT are not read" in plan.warnings
    assert "style: 1 tensors are of no known kind, for example emb_params" in plan.warnings


# --- lists of block weights for LoRA


@pytest.mark.parametrize(
    ("count", "numbers", "blocks"),
    [
        (12, 17, "BASE IN01 IN02 IN04 IN05 IN07 IN08 M00 OUT03 OUT04 OUT05 OUT06 OUT07 OUT08 OUT09 OUT10 OUT11"),
        (9, 12, "BASE IN04 IN05 IN07 IN08 M00 OUT00 OUT01 OUT02 OUT03 OUT04 OUT05"),
    ],
)
def test_a_loras_list_of_block_weights_names_the_blocks_with_attention(count: int, numbers: int, blocks: str) -> None:
    names = ("BASE", *(f"IN{i:02d}" for i in range(count)), "M00", *(f"OUT{i:02d}" for i in range(count)))
    given = [1.0 + i for i in range(numbers)]
    weights = block_weights(given, names).weights
    assert [weights[name] for name in blocks.split()] == given
    assert all(value == 0.0 for name, value in weights.items() if name not in blocks.split())


def test_the_blocks_with_attention_are_those_of_the_layouts() -> None:
    for family, numbers in (("sd1", 26), ("sdxl", 20)):
        found = {place(key).block for key in layouts()[family].shapes if ".transformer_blocks." in key}
        assert found == set(ATTENTION[numbers]) - {"BASE"}


def test_block_weights_apply_to_adapters(tmp_path: Path) -> None:
    style = {**named(LINEAR, lora(True)[0]), **named(CLIP, {"diff": noise(12, 4)})}
    result = baked(tmp_path, "base + blocks(IN04=0.5, BASE=0.25)*style", style)
    whole = baked(tmp_path, "base + style", style)
    for key, share in ((f"{LINEAR}.weight", 0.5), (f"{CLIP}.weight", 0.25)):
        expected = checkpoint()[key] + share * (whole[key] - checkpoint()[key])
        torch.testing.assert_close(result[key], expected, rtol=1e-5, atol=1e-6)


def test_the_verb_shows_which_tensors_a_number_hits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = file(tmp_path, "base", checkpoint())
    style = file(tmp_path, "style", named(LINEAR, lora(True)[0]))
    formula = "base + blocks(IN04=0.5)*style"
    assert main(["merge", formula, f"base={base}", f"style={style}", "--plan"]) == 0
    assert "1 merged as base + 0.5*style" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"lora_up.weight": noise(6, 3)}, "has the part 'up' without the other"),
        ({"lora_up.weight": noise(6, 3), "lora_down.weight": noise(2, 8)}, "ranks 3 and 2"),
        ({**lora(True)[0], "alpha": torch.ones(3)}, r"its alpha has the shape \[3\], not one number"),
        ({**lora(True)[0], "dora_scale": torch.ones(5, 1)}, r"sizes are \[5, 1\] beside a weight of \[6, 8\]"),
        ({**lora(True)[0], "dora_scale": torch.ones(())}, "one per output or per input channel"),
        ({"hada_w1_a": noise(6, 3), "hada_w1_b": noise(3, 8)}, "do not fit together.*w2_a"),
        (
            {"lokr_w1": noise(3, 4), "lokr_w2": noise(3, 2)},
            "changes a weight of 9 × 8, but .* is .6, 8. here: the file is",
        ),
    ],
)
def test_a_damaged_module_is_named(tmp_path: Path, parts: dict[str, Tensor], says: str) -> None:
    style = {**named(LINEAR, parts), **named(CLIP, {"diff": noise(12, 4)})}
    with pytest.raises(Refused, match=f"style.safetensors: {NAMES[LINEAR]}.*{says}"):
        baked(tmp_path, "base + style", style)
    assert inspect(tmp_path / "style.safetensors", deep=True)["adapter"]["modules"] == 2


def test_biases_without_a_place_are_told(tmp_path: Path) -> None:
    style = {**named(LINEAR, {**lora(True)[0], "diff_b": noise(6)}), **named(CONV, {"diff_b": noise(5)})}
    files = {"base": file(tmp_path, "base", checkpoint()), "style": file(tmp_path, "style", style)}
    with pytest.raises(Refused, match="changes a bias of 5 elements where 6 are"):
        stage.read_headers(files)
    files["style"] = file(tmp_path, "style", named(LINEAR, {**lora(True)[0], "diff_b": noise(6)}))
    plan = make_plan(MergeConfig(formula="base + style"), stage.read_headers(files))
    assert f"style: 1 of 2 modules have no place in the model: the bias of {NAMES[LINEAR]}" in plan.warnings


def test_an_inspection_tells_what_an_adapter_is(tmp_path: Path) -> None:
    module = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    style = {f"{module}.lora_up.weight": noise(320, 4), f"{module}.lora_down.weight": noise(4, 768)}
    style |= {"lora_te_text_model_encoder_layers_0_mlp_fc1.diff": noise(3072, 768)}
    style |= {"lora_te_text_model_encoder_layers_0_mlp_fc1.dora_scale": noise(3072, 1)}
    found = inspect(file(tmp_path, "style", style), deep=False)
    assert found["adapter"]["family"] == "sd1"
    assert found["adapter"]["kinds"] == {"LoRA": 1, "DoRA of full": 1}
    assert found["adapter"]["ranks"] == {4: 1}
    assert found["adapter"]["components"] == {"unet": 1, "te1": 1}
    assert "an adapter for sd1 (1 DoRA of full, 1 LoRA, rank 4; modules: 1 te1, 1 unet)" in report(found)
    assert inspect(file(tmp_path, "base", checkpoint()), deep=False)["adapter"] is None
