"""Whole merges of small checkpoints against float64 arithmetic, and the promises about bytes, lineage and bad input."""

import hashlib
import json
import math
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from enogu.core.networks.header import read_header
from enogu.core.networks.keys import place
from enogu.core.networks.stream import StreamWriter, save_tensors
from enogu.core.records.errors import Failed, Refused
from enogu.core.records.job import Job
from enogu.merge import samples, stage
from enogu.merge.config import MergeConfig
from enogu.merge.engine import Engine
from enogu.merge.lineage import RECIPE, WEBUI_MODELS, WEBUI_RECIPE, Lineage
from enogu.merge.plan import make_plan
from enogu.merge.preview import preview
from tests.merge import pico

A, B, C = (pico.tensors(seed) for seed in range(3))


def merged(tmp_path: Path, formula: str, models: dict[str, dict[str, Tensor]], **options: str) -> dict[str, Tensor]:
    files = pico.write(tmp_path, **models)
    stage.merge(MergeConfig(formula=formula, **options), files, tmp_path / "out.safetensors")
    return safetensors.torch.load_file(tmp_path / "out.safetensors")


def test_half_and_half_is_rounded_once(tmp_path: Path) -> None:
    result = merged(tmp_path, "0.5*a + 0.5*b", {"a": A, "b": B}, text="formula")
    assert result.keys() == A.keys()
    for key in result.keys() - {pico.IDS, pico.VAE}:
        expected = (0.5 * A[key].double() + 0.5 * B[key].double()).half()
        assert torch.equal(result[key], expected), key
    assert torch.equal(result[pico.VAE], A[pico.VAE])
    assert torch.equal(result[pico.IDS], A[pico.IDS])
    assert result[pico.IDS].dtype == torch.int64


def test_add_difference(tmp_path: Path) -> None:
    result = merged(tmp_path, "a + 1.0*(b - c)", {"a": A, "b": B, "c": C}, text="formula")
    for key in result.keys() - {pico.IDS, pico.VAE}:
        expected = A[key].double() + B[key].double() - C[key].double()
        assert torch.equal(result[key], expected.half()), key


def test_block_weights_hit_their_blocks(tmp_path: Path) -> None:
    numbers = [i / 26 for i in range(26)]
    result = merged(tmp_path, f"mbw(a, b, {numbers})", {"a": A, "b": B})
    where = {pico.TEXT: 0, pico.TIME: 1, pico.MIDDLE: 13, pico.HEAD: 25}
    where |= {pico.unet(f"IN{i:02d}"): 1 + i for i in range(12)} | {pico.unet(f"OUT{i:02d}"): 14 + i for i in range(12)}
    assert where.keys() == A.keys() - {pico.IDS, pico.VAE}
    for key, number in where.items():
        expected = torch.lerp(A[key].double(), B[key].double(), numbers[number])
        torch.testing.assert_close(result[key].double(), expected, rtol=2**-11, atol=2**-25)


def test_components_come_from_where_the_formula_says(tmp_path: Path) -> None:
    result = merged(tmp_path, "a.unet + b.te + c.vae", {"a": A, "b": B, "c": C})
    assert torch.equal(result[pico.MIDDLE], A[pico.MIDDLE])
    assert torch.equal(result[pico.TEXT], B[pico.TEXT])
    assert torch.equal(result[pico.VAE], C[pico.VAE])


def test_policies_choose_the_vae_and_the_text_encoder(tmp_path: Path) -> None:
    result = merged(tmp_path, "0.5*a + 0.5*b", {"a": A, "b": B, "c": C}, vae="c", text="b")
    assert torch.equal(result[pico.VAE], C[pico.VAE])
    assert torch.equal(result[pico.TEXT], B[pico.TEXT])


def test_vae_and_text_encoder_come_whole_from_the_model_that_leads(tmp_path: Path) -> None:
    differences = ["0.5*a + 0.5*b", "0.3*(b - c) + a", "a + mean(b - a, c - a)", "-0.3*c + a + 0.3*b"]
    for formula in (*differences, "blocks('GRAD_V')*a + blocks('GRAD_A')*b", "r = 1; (1 - r)*a + r*b"):
        result = merged(tmp_path, formula, {"b": B, "c": C, "a": A})
        assert torch.equal(result[pico.VAE], A[pico.VAE])
        assert torch.equal(result[pico.TEXT], A[pico.TEXT])


def test_a_vae_is_blended_when_asked(tmp_path: Path) -> None:
    result = merged(tmp_path, "0.5*a + 0.5*b", {"a": A, "b": B}, vae="formula")
    assert torch.equal(result[pico.VAE], (0.5 * A[pico.VAE].double() + 0.5 * B[pico.VAE].double()).half())


@pytest.mark.parametrize(("dtype", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_dtypes(tmp_path: Path, dtype: str, expected: torch.dtype) -> None:
    result = merged(tmp_path, "a + 0.1*(b - a)", {"a": A, "b": B}, dtype=dtype, precision="fp64")
    exact = 0.9 * A[pico.MIDDLE].double() + 0.1 * B[pico.MIDDLE].double()
    assert torch.equal(result[pico.MIDDLE], exact.to(expected))
    assert result[pico.VAE].dtype == expected
    assert result[pico.IDS].dtype == torch.int64


def test_position_ids_that_are_floats_give_way_to_those_that_are_none(tmp_path: Path) -> None:
    damaged = A | {pico.IDS: A[pico.IDS].half() * 0.99}
    assert torch.equal(merged(tmp_path, "0.5*a + 0.5*b", {"a": damaged, "b": B})[pico.IDS], B[pico.IDS])
    headers = stage.read_headers(pico.write(tmp_path, a=damaged, b=damaged))
    assert any("enogu convert" in text for text in make_plan(MergeConfig(formula="0.5*a + 0.5*b"), headers).warnings)


def test_weights_in_8_bits_with_scales_become_16_bits(tmp_path: Path) -> None:
    layer = pico.MIDDLE.removesuffix(".weight")
    scaled = {pico.MIDDLE: A[pico.MIDDLE].to(torch.float8_e4m3fn), f"{layer}.scale_weight": torch.tensor(0.5)}
    models = {"a": A | scaled, "b": B}
    for formula, share in (("0.5*a + 0.5*b", 0.5), ("a", 0.0)):
        result = merged(tmp_path, formula, models)
        meant = 0.5 * scaled[pico.MIDDLE].double()
        assert torch.equal(result[pico.MIDDLE], torch.lerp(meant, B[pico.MIDDLE].double(), share).half())
        assert result.keys() == A.keys()
    plan = make_plan(MergeConfig(formula="0.5*a + 0.5*b"), stage.read_headers(pico.write(tmp_path, **models)))
    assert any("8 bits with scales; they are written in fp16" in warning for warning in plan.warnings)


@pytest.mark.parametrize("dtype", ["fp8_e4m3fn", "fp8_e5m2"])
def test_eight_bits_where_they_do_little_harm(tmp_path: Path, dtype: str) -> None:
    kind = getattr(torch, dtype.replace("fp8", "float8"))
    large = {**A, pico.MIDDLE: A[pico.MIDDLE].clone().fill_(60000.0)}
    result = merged(tmp_path, "0.5*a + 0.5*b", {"a": A, "b": B}, dtype=dtype)
    exact = (0.5 * A[pico.unet("IN04")].double() + 0.5 * B[pico.unet("IN04")].double()).float()
    assert torch.equal(result[pico.unet("IN04")].view(torch.uint8), exact.to(kind).view(torch.uint8))
    wide = {pico.unet("IN00"), pico.HEAD, pico.TIME, pico.TEXT, pico.VAE}
    assert {key for key in result if result[key].dtype == torch.float16} == wide
    held = merged(tmp_path, "0.5*a + 0.5*b", {"a": large, "b": large}, dtype=dtype)
    assert (held[pico.MIDDLE].float() == torch.finfo(kind).max).all()


STEPS = """
x1 = ties(a, {}, {}, keep=0.4)
x2 = dare(b - x1, drop=0.5)
x3 = slerp(x1 + x2, clamp(x1 + 0.2*(c - x1), [a, x1 + x2]), 0.3)
karcher(x3, x1, c) + 0.1*della(b - x3, c - x1)
"""


@pytest.mark.parametrize(
    "formulas",
    [
        ("a + 0.3*(b - c)", "0.3*(b - c) + a", "-0.3*c + a + 0.3*b"),
        (STEPS.format("b", "c"), STEPS.format("c", "b")),
    ],
)
def test_threads_pieces_and_order_never_change_a_byte(formulas: tuple[str, ...], tmp_path: Path) -> None:
    files = pico.write(tmp_path, a=A, b=B, c=C)
    seen = set()
    for formula in formulas:
        for threads, piece in ((1, 1 << 18), (2, 64), (8, 7)):
            plan = make_plan(MergeConfig(formula=formula, text="formula"), stage.read_headers(files))
            engine = Engine(threads=threads, piece=piece)
            engine.run(plan, files, tmp_path / "out.safetensors")
            seen.add(hashlib.sha256((tmp_path / "out.safetensors").read_bytes()).hexdigest())
    assert len(seen) == 1


def test_the_file_carries_its_recipe_and_true_hashes(tmp_path: Path) -> None:
    files = pico.write(tmp_path, a=A, b=B)
    out = tmp_path / "out.safetensors"
    _, written = stage.merge(MergeConfig(formula="0.5*a + 0.5*b"), files, out)
    raw, header = out.read_bytes(), read_header(out)
    assert written.data_sha256 == hashlib.sha256(raw[header.data_start :]).hexdigest()
    assert header.metadata["modelspec.hash_sha256"] == "0x" + written.data_sha256
    assert header.metadata["modelspec.merged_from"] == "A,B"
    recipe = json.loads(header.metadata[RECIPE])
    assert recipe["formula"] == "0.5*a + 0.5*b"
    for name, path in files.items():
        assert recipe["models"][name]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert str(tmp_path) not in raw[8 : header.data_start].decode()
    stage.merge(MergeConfig(formula="0.5*child + 0.5*a"), {"child": out, **files}, tmp_path / "next.safetensors")
    metadata = read_header(tmp_path / "next.safetensors").metadata
    ancestry = json.loads(metadata[RECIPE])
    ancestors = json.loads(metadata[WEBUI_MODELS])
    hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in {**files, "child": out}.items()}
    assert ancestors.keys() == set(hashes.values())
    assert ancestors[hashes["child"]]["sd_merge_recipe"]["formula"] == "0.5*a + 0.5*b"
    assert json.loads(metadata[WEBUI_RECIPE])["primary_model_hash"] == hashes["child"]
    assert ancestry["models"]["child"]["merge"]["models"]["b"]["title"] == "B"
    assert (metadata["modelspec.title"], metadata["modelspec.merged_from"]) == ("merge of child, A", "child,A")


def test_titles_are_listed_apart_and_a_pool_is_counted(tmp_path: Path) -> None:
    files = pico.write(tmp_path, **{f"x{i}": pico.tensors(i) for i in range(9)})
    save_tensors(files["x0"], pico.tensors(0), {"modelspec.title": "Mix, pruned,  v2"})
    stage.merge(MergeConfig(formula="mean('x*')"), files, tmp_path / "out.safetensors")
    metadata = read_header(tmp_path / "out.safetensors").metadata
    assert metadata["modelspec.merged_from"] == "Mix pruned v2,X1,X2,X3,X4,X5,X6,X7,X8"
    assert metadata["modelspec.title"] == "merge of 9 models"


def test_what_must_not_be_blended_is_not(tmp_path: Path) -> None:
    a = {**A, "v_pred": torch.zeros(0), "alphas_cumprod": torch.linspace(1, 0, 9), "model_ema.decay": torch.ones(1)}
    result = merged(tmp_path, "0.5*a + 0.5*b", {"a": a, "b": B})
    assert torch.equal(result["alphas_cumprod"], a["alphas_cumprod"])
    assert result["v_pred"].shape == (0,)
    assert "model_ema.decay" not in result


def test_a_tensor_that_one_model_lacks_is_copied_and_told(tmp_path: Path) -> None:
    b = {key: tensor for key, tensor in B.items() if key != pico.MIDDLE}
    files = pico.write(tmp_path, a=A, b=b)
    plan, _ = stage.merge(MergeConfig(formula="0.5*a + 0.5*b"), files, tmp_path / "out.safetensors")
    assert torch.equal(safetensors.torch.load_file(tmp_path / "out.safetensors")[pico.MIDDLE], A[pico.MIDDLE])
    assert any(pico.MIDDLE in warning for warning in plan.warnings)


def test_models_of_different_shapes_are_refused_before_any_work(tmp_path: Path) -> None:
    wide = {**B, pico.MIDDLE: torch.ones(16, 1)}
    with pytest.raises(Refused, match=r"\[16, 16\] in a and \[16, 1\] in b"):
        merged(tmp_path, "0.5*a + 0.5*b", {"a": A, "b": wide})
    other = {f"{key}.x" if place(key).component == "unet" else key: value for key, value in B.items()}
    with pytest.raises(Refused, match="not of one family"):
        merged(tmp_path, "0.5*a + 0.5*b", {"a": A, "b": other})
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("formula", "told"),
    [
        ("a.unet + b.te2", "no model has a te2; they have te1, unet, vae"),
        ("a.unet + b.unet.te", "the unet of a model has no te in it"),
        ("half = 0.5*a.te + 0.5*b.te; a.unet + half.vae.unet", "the vae of a model has no unet in it"),
    ],
)
def test_a_component_that_no_tensor_belongs_to_is_refused(formula: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=told):
        merged(tmp_path, formula, {"a": A, "b": B})


def test_parts_come_from_files_that_have_no_more(tmp_path: Path) -> None:
    vae, text = ({key: value for key, value in B.items() if key in (pico.VAE,)}, {pico.TEXT: C[pico.TEXT]})
    result = merged(tmp_path, "v.vae + a.unet + t.te", {"v": vae, "a": A, "t": text})
    expected = {**A, **vae, **text}
    assert result.keys() == expected.keys()
    assert all(torch.equal(result[key], value) for key, value in expected.items())
    with pytest.raises(Refused, match=r"v has no UNet, which the formula blends; what it has is v\.vae"):
        merged(tmp_path, "0.5*a + 0.5*v", {"v": vae, "a": A})


@pytest.mark.parametrize("formula", ["a - a + b - b", "0*a + 0*b", "a.unet - a.unet"])
def test_a_formula_that_comes_to_nothing_is_refused(formula: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="comes to nothing"):
        merged(tmp_path, formula, {"a": A, "b": B})


def test_a_step_is_computed_once_however_often_it_is_used(tmp_path: Path) -> None:
    steps = [
        f"x{i + 1} = clamp(0.9*x{i} + 0.1*c, [b, x{i} + 0.2*(c - b), x{i}])" for i in range(30)
    ]  # else 4**30 calls
    formula = "\n".join(["x0 = clamp(a, [b, c])", *steps, "x30"])
    result = merged(tmp_path, formula, {"a": A, "b": B, "c": C}, precision="fp64", dtype="fp32")
    a, b, c = (models[pico.MIDDLE].double() for models in (A, B, C))
    value = a.clamp(b.minimum(c), b.maximum(c))
    for _ in range(30):
        ends = torch.stack([b, value + 0.2 * (c - b), value])
        value = (0.9 * value + 0.1 * c).clamp(ends.amin(0), ends.amax(0))
    torch.testing.assert_close(result[pico.MIDDLE].double(), value, rtol=0, atol=1e-7)


def test_steps_that_build_on_one_another_too_deeply_are_refused(tmp_path: Path) -> None:
    steps = [f"x{i + 1} = (x{i} + x{i}) / 2" for i in range(400)]
    with pytest.raises(Refused, match="too many steps"):
        merged(tmp_path, "\n".join(["x0 = (a + b) / 2", *steps, "x400"]), {"a": A, "b": B})


def test_damage_that_samples_show_is_refused_before_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = {pico.VAE: torch.full_like(A[pico.VAE], math.inf)}
    broken = {key: torch.full_like(values, math.nan) for key, values in B.items() if key.startswith("model.")}
    models = {"a": {**A, **endless}, "b": {**B, **broken, **endless}, "c": {**C, **broken}}
    monkeypatch.setattr(Engine, "run", lambda *_, **__: pytest.fail("work began"))
    told = rf"^{pico.VAE} of a holds NaN.*\nmodel.* and 5 others of b holds NaN or infinities; use a sound copy.*$"
    with pytest.raises(Refused, match=told):
        merged(tmp_path, "0.5*a + 0.5*b", models)
    with pytest.raises(Refused, match="of a holds NaN"):
        preview(MergeConfig(formula="0.5*a + 0.5*b"), pico.write(tmp_path, **models), None, threads=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors", "c.safetensors"]


@pytest.mark.parametrize(("key", "formula"), [(pico.MIDDLE, "0.5*a + 0.5*b"), (pico.VAE, "a.unet + b.vae")])
def test_damage_that_lies_deeper_is_found_on_the_way_and_nothing_is_written(
    key: str, formula: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = {**B, key: B[key].clone()}
    bad[key].view(-1)[-1] = math.nan
    monkeypatch.setattr(samples, "ELEMENTS", 8)
    with pytest.raises(Failed, match=f"{key} of b holds NaN"):
        merged(tmp_path, formula, {"a": A, "b": bad})
    with pytest.raises(Failed, match="does not fit into float16"):
        merged(tmp_path, "a + 1000000*(b - c)", {"a": A, "b": B, "c": C})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors", "c.safetensors"]
    kept = merged(tmp_path, formula, {"a": A, "b": bad}, nonfinite="keep")
    assert torch.equal(kept[key].isnan(), bad[key].isnan())


def test_a_schedule_may_end_at_infinity(tmp_path: Path) -> None:
    endless = torch.tensor([1.0, 2.0, math.inf])
    kept = merged(tmp_path, "0.5*a + 0.5*b", {"a": {**A, "sqrt_recip_alphas_cumprod": endless}, "b": B})
    assert torch.equal(kept["sqrt_recip_alphas_cumprod"], endless)


def test_an_interrupt_leaves_no_file_and_a_rerun_goes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(out=tmp_path / "out", inputs={"models": pico.write(tmp_path, a=A, b=B)})
    config = MergeConfig(formula="0.5*a + 0.5*b")

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StreamWriter, "write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            stage.run(config, job)
    assert os.listdir(job.out) == []
    summary = stage.run(config, job)
    assert summary["tensors"] == {"merged": 27, "copied": 3}
    assert json.loads((job.out / "plan.json").read_text())["data_sha256"] == summary["data_sha256"]
    assert (job.out / "model.safetensors").exists()


def test_the_names_that_a_recipe_must_provide() -> None:
    formula = "d = b - 'c 2'\nmbw(a, a + d, 'GRAD_V') + 0*mean('x*')"
    assert MergeConfig(formula=formula, vae="e").model_names() == ("b", "c 2", "a", "e")
    with pytest.raises(Refused, match="unknown dtype"):
        MergeConfig(formula="a", dtype="fp17")


def test_the_slip_in_a_published_list_is_pointed_out(tmp_path: Path) -> None:
    numbers = "[1,.9,.7,.5,.3,.1,1,1,1,1,1,1,0,0,0,0,0,0,0,0,1,.3,.5,.7,.9,1]"
    plan = make_plan(MergeConfig(formula=f"mbw(a, b, {numbers})"), stage.read_headers(pico.write(tmp_path, a=A, b=B)))
    assert any("if the list was meant as 25 numbers" in warning for warning in plan.warnings)


def test_metadata_of_a_foreign_recipe_does_no_harm(tmp_path: Path) -> None:
    files = pico.write(tmp_path, a=A, b=B)
    headers = stage.read_headers(files)
    headers["a"] = type(headers["a"])(headers["a"].tensors, {RECIPE: "{not json"}, headers["a"].data_start)
    plan = make_plan(MergeConfig(formula="0.5*a + 0.5*b"), headers)
    assert (
        json.loads(Lineage(plan, headers, files).describe({"a": "1" * 64, "b": "2" * 64})[RECIPE])["models"]["a"][
            "merge"
        ]
        == "{not json"
    )
