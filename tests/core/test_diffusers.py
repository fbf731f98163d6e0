"""Diffusers folders are read and written; where diffusers is installed, it agrees."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from enogu.cli import main
from enogu.core.networks.convert import convert
from enogu.core.networks.diffusers import spellings
from enogu.core.networks.identity import identify
from enogu.core.networks.layouts import find_layout, layout
from enogu.core.networks.rewrite import Conversion
from enogu.core.networks.source import open_source, read_source_header
from enogu.core.networks.stream import save_tensors
from enogu.core.networks.tokenizer import BOS, EOS, tokenize
from enogu.core.records.errors import Refused

# of the file that transformers' CLIP models come with
MERGES = "9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a"
PROMPTS = (
    "",
    "1girl, solo, cat ears, :d, >_<",
    "emily j\u00e4ger \u65e5\u672c\u8a9e \u521d\u97f3\u30df\u30af",
    "don't \U0001f600 \u00bd c++",
)
FAMILIES = ("mini-sd1", "mini-sd2", "mini-sdxl")
# from the tables of diffusers' scripts/convert_diffusers_to_original_{stable_diffusion,sdxl}.py
NAMES = {
    ("sd1", "model.diffusion_model.input_blocks.0.0.weight"): ["conv_in.weight"],
    ("sd1", "model.diffusion_model.time_embed.2.bias"): ["time_embedding.linear_2.bias"],
    ("sd1", "model.diffusion_model.input_blocks.4.0.skip_connection.weight"): [
        "down_blocks.1.resnets.0.conv_shortcut.weight"
    ],
    ("sd1", "model.diffusion_model.input_blocks.8.1.proj_in.weight"): ["down_blocks.2.attentions.1.proj_in.weight"],
    ("sd1", "model.diffusion_model.input_blocks.9.0.op.weight"): ["down_blocks.2.downsamplers.0.conv.weight"],
    ("sd1", "model.diffusion_model.middle_block.2.out_layers.3.bias"): ["mid_block.resnets.1.conv2.bias"],
    ("sd1", "model.diffusion_model.output_blocks.2.1.conv.weight"): ["up_blocks.0.upsamplers.0.conv.weight"],
    ("sd1", "model.diffusion_model.output_blocks.5.2.conv.weight"): ["up_blocks.1.upsamplers.0.conv.weight"],
    ("sd1", "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.attn2.to_k.weight"): [
        "up_blocks.3.attentions.2.transformer_blocks.0.attn2.to_k.weight"
    ],
    ("sdxl", "model.diffusion_model.label_emb.0.2.weight"): ["add_embedding.linear_2.weight"],
    ("sdxl", "model.diffusion_model.output_blocks.2.2.conv.bias"): ["up_blocks.0.upsamplers.0.conv.bias"],
    ("sd1", "first_stage_model.decoder.up.0.block.0.nin_shortcut.weight"): [
        "decoder.up_blocks.3.resnets.0.conv_shortcut.weight"
    ],
    ("sd1", "first_stage_model.encoder.down.2.downsample.conv.bias"): [
        "encoder.down_blocks.2.downsamplers.0.conv.bias"
    ],
    ("sd1", "first_stage_model.decoder.mid.attn_1.proj_out.weight"): [
        "decoder.mid_block.attentions.0.to_out.0.weight",
        "decoder.mid_block.attentions.0.proj_attn.weight",  # before diffusers 0.18
    ],
    ("sdxl", "conditioner.embedders.1.model.ln_final.bias"): [
        "text_model.final_layer_norm.bias",
        "final_layer_norm.bias",  # transformers 5
    ],
    ("sdxl", "conditioner.embedders.1.model.text_projection"): ["text_projection.weight", "text_projection.weight"],
}


def tensors(name: str, seed: int = 0) -> dict[str, Tensor]:
    """Return random tensors of a family, those that diffusers has a place for."""
    generator = torch.Generator().manual_seed(seed)
    return {
        key: torch.randn(shape, generator=generator).mul(0.05).half()
        for key, shape in layout(name).shapes.items()
        if not key.endswith("logit_scale") and not (name == "mini-sd2" and ("blocks.2." in key and "resblocks" in key))
        and not (name == "mini-sd2" and "text_projection" in key)
    }  # fmt: skip


@pytest.mark.parametrize(("family", "key"), NAMES)
def test_names_are_those_of_the_conversion_scripts(family: str, key: str) -> None:
    assert [spelling.names[0] for spelling in spellings(family)[key]] == NAMES[family, key]


@pytest.mark.parametrize("name", FAMILIES)
def test_there_and_back_again_changes_no_bit(tmp_path: Path, name: str) -> None:
    own = tensors(name)
    save_tensors(tmp_path / "a", own, {"modelspec.prediction_type": "v"})
    convert(tmp_path / "a", tmp_path / "folder", Conversion(layout="diffusers"))
    convert(tmp_path / "folder", tmp_path / "b", Conversion())
    with open_source(tmp_path / "folder") as folder, open_source(tmp_path / "b") as single:
        found = find_layout(folder.header)
        assert found is not None
        assert found.name == name
        assert folder.header.tensors.keys() == own.keys()
        assert single.header.tensors.keys() - {"v_pred"} == own.keys()
        assert single.header.metadata["modelspec.prediction_type"] == "v"
        for key, tensor in own.items():
            for source in (folder, single):
                assert source.header.tensors[key].shape == tuple(tensor.shape), key
                assert torch.equal(source.tensor(key), tensor), key
                middle = slice(tensor.numel() // 3, tensor.numel() // 3 * 2)
                assert torch.equal(source.stretch(key, middle.start, middle.stop), tensor.flatten()[middle]), key
    parts = [identify(tmp_path / file).components for file in ("a", "folder", "b")]
    assert all({**each, "other": ""} == {**parts[0], "other": ""} for each in parts)


def test_a_folder_is_merged_like_the_file_that_it_came_from(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        save_tensors(tmp_path / name, tensors("mini-sd1", seed), {})
    convert(tmp_path / "b", tmp_path / "folder", Conversion(layout="diffusers"))
    with open_source(tmp_path / "folder") as folder:
        told = json.loads(folder.header.metadata["enogu.convert"])
        assert told["models"]["source"]["sha256"] == hashlib.sha256((tmp_path / "b").read_bytes()).hexdigest()
    for b, out in (("b", "one"), ("folder", "two")):
        asked = [
            "merge",
            "0.3*a + 0.7*b",
            f"a={tmp_path / 'a'}",
            f"b={tmp_path / b}",
            "-o",
            f"{tmp_path / out}.safetensors",
        ]
        assert main(asked) == 0
    with open_source(tmp_path / "one.safetensors") as one, open_source(tmp_path / "two.safetensors") as two:
        assert one.header.tensors.keys() == two.header.tensors.keys()
        assert all(torch.equal(one.tensor(key), two.tensor(key)) for key in one.header.tensors)
    asked = ["inspect", "--verify", f"{tmp_path / 'two'}.safetensors", str(tmp_path / "folder"), str(tmp_path / "a")]
    assert main(asked) == 0


def test_a_folder_differs_in_nothing_from_the_file_that_it_came_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tensors(tmp_path / "a", tensors("mini-sdxl"), {})
    convert(tmp_path / "a", tmp_path / "folder", Conversion(layout="diffusers"))
    convert(tmp_path / "a", tmp_path / "eight", Conversion(dtype="fp8_e4m3fn", scaled="comfy"))
    for other, most in (("folder", 0.0), ("eight", 0.05)):
        assert main(["inspect", "--json", str(tmp_path / "a"), str(tmp_path / other)]) == 0
        groups = json.loads(capsys.readouterr().out)["groups"]
        assert 0.0 <= max(group["relative"] for group in groups) <= most
        assert sum(group["tensors"] for group in groups) == len(layout("mini-sdxl").shapes) - 1  # logit_scale


def test_what_has_no_place_is_dropped_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_tensors(tmp_path / "a", {**tensors("mini-sd1"), "model_ema.decay": torch.ones(())}, {})
    assert main(["convert", str(tmp_path / "a"), "-o", str(tmp_path / "out"), "--layout", "diffusers"]) == 0
    assert "dropped 1 tensors, such as model_ema.decay" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "unet", "vae", "text_encoder", "tokenizer", "scheduler", "model_index.json",
    }  # fmt: skip
    assert main(["inspect", str(tmp_path / "out")]) == 0
    assert "out: mini-sd1" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "a"), "-o", str(tmp_path / "out"), "--layout", "diffusers"]) == 2


def test_a_folder_without_a_component_is_not_begun(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a", {k: v for k, v in tensors("mini-sd1").items() if "first_stage" not in k}, {})
    with pytest.raises(Refused, match="has no vae"):
        convert(tmp_path / "a", tmp_path / "out", Conversion(layout="diffusers"))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def in_folder(path: Path, names: dict[str, Tensor], *, shards: int = 1) -> None:
    path.mkdir(parents=True)
    keys, table = sorted(names), {}
    for shard in range(shards):
        file = f"diffusion_pytorch_model-{shard + 1:05}-of-{shards:05}.safetensors"
        own = {key: names[key] for key in keys[shard::shards]}
        save_tensors(path / file, own, {})
        table |= dict.fromkeys(own, file)
    (path / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))


def test_shards_old_attention_and_bins_are_read(tmp_path: Path) -> None:
    own = tensors("mini-sd1")
    spelt = spellings("mini-sd1")
    unet = {spelt[key][0].names[0]: value for key, value in own.items() if spelt[key][0].component == "unet"}
    vae = {spelt[key][-1].names[0]: value for key, value in own.items() if spelt[key][0].component == "vae"}
    text = {spelt[key][0].names[0]: value for key, value in own.items() if spelt[key][0].component == "te1"}
    in_folder(tmp_path / "x" / "unet", unet, shards=3)
    (tmp_path / "x" / "vae").mkdir()
    flat = {key: value.flatten(1) if ".attentions." in key and value.ndim == 4 else value for key, value in vae.items()}
    torch.save(flat, tmp_path / "x" / "vae" / "diffusion_pytorch_model.bin")
    (tmp_path / "x" / "text_encoder").mkdir()
    save_tensors(tmp_path / "x" / "text_encoder" / "model.fp16.safetensors", text, {})
    with open_source(tmp_path / "x") as source:
        assert source.header.tensors.keys() == own.keys()
        assert all(torch.equal(source.tensor(key), own[key]) for key in own)
    lone = read_source_header(tmp_path / "x" / "vae" / "diffusion_pytorch_model.bin")
    assert lone.tensors.keys() == {key for key in own if key.startswith("first_stage_model.")}
    next((tmp_path / "x" / "unet").glob("*-00002-*")).unlink()
    with pytest.raises(Refused, match="00002-of-00003"):
        open_source(tmp_path / "x")
    index = tmp_path / "x" / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"conv_in.weight": "../../../secret"}}))
    with pytest.raises(Refused, match="outside its folder"):
        open_source(tmp_path / "x")
    index.write_text("[")
    with pytest.raises(Refused, match="not JSON"):
        open_source(tmp_path / "x")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="without weights"):
        open_source(tmp_path)


@pytest.mark.parametrize("name", FAMILIES)
def test_diffusers_loads_what_is_written(tmp_path: Path, name: str) -> None:
    diffusers = pytest.importorskip("diffusers")
    transformers = pytest.importorskip("transformers")
    files = pytest.importorskip("diffusers.loaders.single_file_utils")
    own = tensors(name)
    save_tensors(tmp_path / "a", own, {})
    convert(tmp_path / "a", tmp_path / "out", Conversion(layout="diffusers", dtype="fp32"))
    wide = {key: value.float() for key, value in own.items()}
    unet, told = diffusers.UNet2DConditionModel.from_pretrained(tmp_path / "out" / "unet", output_loading_info=True)
    assert not any(told.values())
    theirs = files.convert_ldm_unet_checkpoint(dict(wide), dict(unet.config))
    vae, told = diffusers.AutoencoderKL.from_pretrained(tmp_path / "out" / "vae", output_loading_info=True)
    assert not any(told.values())
    for model, ready in ((unet, theirs), (vae, files.convert_ldm_vae_checkpoint(dict(wide), dict(vae.config)))):
        state = model.state_dict()
        assert state.keys() == ready.keys()
        assert all(torch.equal(state[key], ready[key].reshape(state[key].shape)) for key in state)
    kinds = {"text_encoder": transformers.CLIPTextModel, "text_encoder_2": transformers.CLIPTextModelWithProjection}
    for folder, kind in kinds.items():
        if (tmp_path / "out" / folder).exists():
            _, told = kind.from_pretrained(tmp_path / "out" / folder, output_loading_info=True)
            assert not any(told.values()), told
    size = layout(name).sizes["unet"]
    labels = {"text_embeds": torch.ones(1, 64), "time_ids": torch.ones(1, 6)} if "labels" in size else None
    x, context = torch.randn(1, 4, 8, 8), torch.randn(1, 77, size["context"])
    with torch.inference_mode():
        assert unet(x, 500, context, added_cond_kwargs=labels).sample.isfinite().all()
    whole = getattr(diffusers, layout(name).pipeline).from_pretrained(tmp_path / "out")
    assert whole.scheduler.config.beta_schedule == "scaled_linear"
    for part in ("tokenizer", "tokenizer_2"):
        if tokenizer := getattr(whole, part, None):
            assert all(tokenizer(text).input_ids == [BOS, *tokenize(text), EOS] for text in PROMPTS)
            padded = tokenizer("1girl", padding="max_length").input_ids
            assert padded == [
                BOS,
                *tokenize("1girl"),
                EOS,
                *[EOS if layout(name).kinds[f"te{1 + ('_2' in part)}"] == "clip" else 0] * 73,
            ]


def test_a_folder_has_all_that_pipelines_load(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a", tensors("mini-sdxl"), {})
    convert(tmp_path / "a", tmp_path / "out", Conversion(layout="diffusers"))
    index = json.loads((tmp_path / "out" / "model_index.json").read_text())
    parts = {name for name, value in index.items() if isinstance(value, list) and value[0]}
    assert parts == {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    for name, padding in (("tokenizer", "<|endoftext|>"), ("tokenizer_2", "!")):
        folder = tmp_path / "out" / name
        assert json.loads((folder / "tokenizer_config.json").read_text())["pad_token"] == padding
        assert hashlib.sha256((folder / "merges.txt").read_bytes()).hexdigest() == MERGES
        merges = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")[1:-1]
        vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        assert list(vocabulary.values()) == list(range(49408))
        assert list(vocabulary)[512:] == [
            *(pair.replace(" ", "") for pair in merges),
            "<|startoftext|>",
            "<|endoftext|>",
        ]
        assert [vocabulary[letter] for letter in ("!", "~", "\u00a1", "\u0100", "!</w>")] == [0, 93, 94, 188, 256]


def test_a_folders_own_tokenizer_is_kept(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a", tensors("mini-sd1"), {})
    convert(tmp_path / "a", tmp_path / "out", Conversion(layout="diffusers"))
    (tmp_path / "out" / "tokenizer" / "vocab.json").write_text("{}")
    convert(tmp_path / "out", tmp_path / "again", Conversion(layout="diffusers", dtype="fp16"))
    assert (tmp_path / "again" / "tokenizer" / "vocab.json").read_text() == "{}"
