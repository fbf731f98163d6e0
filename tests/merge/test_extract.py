"""Extraction against whole singular value decompositions, and against what it says of itself."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from enogu.cli import main
from enogu.core.networks.header import read_header
from enogu.core.networks.stream import save_tensors
from enogu.core.records.errors import Failed, Refused
from enogu.merge import stage
from enogu.merge.adapters.config import ExtractConfig
from enogu.merge.adapters.extract import Extracted, extract
from enogu.merge.adapters.factors import Limits, factor
from enogu.merge.config import MergeConfig
from enogu.merge.inspection import inspect, report

UNET = "model.diffusion_model."
ATTENTION = f"{UNET}input_blocks.4.1.transformer_blocks.0.attn1.to_q.weight"
POINT = f"{UNET}output_blocks.3.1.proj_in.weight"
CONV = f"{UNET}middle_block.0.in_layers.2.weight"
NORM = f"{UNET}input_blocks.4.1.norm.weight"
IN_PROJ = "conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_weight"
CLIP = "conditioner.embedders.0.transformer.text_model.encoder.layers.0.mlp.fc1.weight"
TOKENS = "conditioner.embedders.1.model.token_embedding.weight"
VAE = "first_stage_model.decoder.conv_in.weight"
SHAPES: dict[str, tuple[int, ...]] = {
    ATTENTION: (40, 24),
    POINT: (16, 20, 1, 1),
    CONV: (12, 10, 3, 3),
    CONV.replace("weight", "bias"): (12,),
    NORM: (24,),
    NORM.replace("weight", "bias"): (24,),
    f"{UNET}label_emb.0.0.weight": (1, 5),
    IN_PROJ: (30, 10),
    CLIP: (8, 6),
    TOKENS: (50, 10),
    VAE: (4, 2, 3, 3),
}


def noise(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1000 * seed + sum(shape)))


BASE = {key: noise(shape, 1) for key, shape in SHAPES.items()}
TUNED = {key: value + 0.1 * noise(SHAPES[key], 2) for key, value in BASE.items()}


def files(folder: Path, **models: dict[str, Tensor]) -> dict[str, Path]:
    for name, tensors in models.items():
        save_tensors(folder / f"{name}.safetensors", tensors, {})
    return {name: folder / f"{name}.safetensors" for name in models}


def extracted(
    folder: Path, *, formula: str = "tuned - base", models: dict[str, Path] | None = None, **options: object
) -> Extracted:
    config = ExtractConfig(formula=formula, **{"dtype": "fp32", **options})  # type: ignore[arg-type]
    return extract(config, models or files(folder, base=BASE, tuned=TUNED), folder / "style.safetensors")


def baked(folder: Path, name: str = "style") -> dict[str, Tensor]:
    inputs = files(folder, base=BASE) | {"style": folder / f"{name}.safetensors"}
    stage.merge(MergeConfig(formula="base + style"), inputs, folder / "baked.safetensors")
    return safetensors.torch.load_file(folder / "baked.safetensors")


def matrix(key: str, first: dict[str, Tensor], second: dict[str, Tensor]) -> np.ndarray:
    return (first[key] - second[key]).double().numpy().reshape(SHAPES[key][0], -1)


def size(values: np.ndarray) -> float:
    return math.sqrt(float((values**2).sum()))


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_baking_what_was_extracted_misses_what_it_says(tmp_path: Path, dtype: str) -> None:
    done = extracted(tmp_path, rank=4, conv_rank=3, dtype=dtype)
    result = baked(tmp_path)
    missing = math.sqrt(sum(size(matrix(key, result, TUNED)) ** 2 for key in SHAPES))
    whole = math.sqrt(sum(size(matrix(key, TUNED, BASE)) ** 2 for key in SHAPES))
    assert done.tally.total.residual == pytest.approx(missing / whole, rel=1e-5)
    rows = {row["block"]: row["residual"] for row in done.tally.rows() if row["component"] == "unet"}
    own = [key for key in SHAPES if ".input_blocks.4." in key]
    missing = math.sqrt(sum(size(matrix(key, result, TUNED)) ** 2 for key in own))
    assert rows["IN04"] == pytest.approx(
        missing / math.sqrt(sum(size(matrix(key, TUNED, BASE)) ** 2 for key in own)), rel=1e-5
    )


@pytest.mark.parametrize("rank", [1, 4, 100])
def test_no_other_factors_of_that_rank_miss_less(tmp_path: Path, rank: int) -> None:
    extracted(tmp_path, rank=rank, conv_rank=rank)
    result = baked(tmp_path)
    for key, rows in ((ATTENTION, 40), (POINT, 16), (CONV, 12), (IN_PROJ, 10)):
        for start in range(0, SHAPES[key][0], rows):
            own, missing = (
                matrix(key, first, second)[start : start + rows] for first, second in ((TUNED, BASE), (TUNED, result))
            )
            tail = np.linalg.svd(own)[1][rank:]
            assert size(missing) <= 1.001 * math.sqrt(float((tail**2).sum())) + 1e-5, key


def test_a_difference_of_low_rank_comes_back_whole(tmp_path: Path) -> None:
    tuned = dict(BASE)
    for key in (ATTENTION, IN_PROJ):
        rows, columns = SHAPES[key]
        tuned[key] = BASE[key] + noise((rows, 1), 3) @ noise((1, columns), 4)
    done = extracted(tmp_path, models=files(tmp_path, base=BASE, tuned=tuned), rank=2)
    result = baked(tmp_path)
    for key in SHAPES:
        torch.testing.assert_close(result[key], tuned[key], rtol=1e-5, atol=1e-5)
    assert done.tally.total.residual < 1e-5
    assert done.tally.total.modules == 4  # queries, keys and values of the second encoder are three


def test_ranks_follow_energy_and_threshold(tmp_path: Path) -> None:
    spectrum = np.linalg.svd(matrix(ATTENTION, TUNED, BASE))[1]
    name = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
    for energy in (0.3, 0.9, 0.999):
        done = extracted(tmp_path, rank=24, energy=energy)
        shares = (spectrum**2).cumsum() / (spectrum**2).sum()
        assert done.ranks[name] == int((shares < energy).sum()) + 1
    done = extracted(tmp_path, rank=24, threshold=0.5)
    assert done.ranks[name] == int((spectrum >= 0.5 * spectrum[0]).sum())
    assert extracted(tmp_path, rank=2, energy=0.999).ranks[name] == 2


@pytest.mark.parametrize("rows", [1, 2, 7])
@pytest.mark.parametrize("columns", [1, 3, 200])
@pytest.mark.parametrize("rank", [1, 2, 64])
def test_matrices_of_every_shape(rows: int, columns: int, rank: int) -> None:
    for values in (noise((rows, columns), 5), 1e-6 * noise((rows, columns), 6), torch.ones(rows, columns)):
        found = factor(values, Limits(rank, 1.0, 0.0), dtype=torch.float32, seed=0)
        spectrum = np.linalg.svd(values.double().numpy())[1]
        assert found.rank == min(rank, rows, columns)
        missing = size((values - found.up @ found.down).double().numpy())
        assert missing <= 1.02 * size(spectrum[rank:]) + 1e-5 * spectrum[0]
        assert math.sqrt(found.lost) == pytest.approx(missing, abs=1e-6 * spectrum[0])


def test_a_large_matrix_is_decomposed_at_random_and_nearly_as_well() -> None:
    values = noise((400, 30), 7) @ noise((30, 500), 8) + 0.5 * noise((400, 500), 9)
    found = factor(values, Limits(16, 1.0, 0.0), dtype=torch.float32, seed=3)
    best = size(np.linalg.svd(values.double().numpy())[1][16:])
    assert best <= math.sqrt(found.lost) <= 1.02 * best
    assert factor(values, Limits(16, 1.0, 0.0), dtype=torch.float32, seed=4).lost == pytest.approx(found.lost, rel=0.01)


def test_threads_change_no_byte(tmp_path: Path) -> None:
    inputs, config = files(tmp_path, base=BASE, tuned=TUNED), ExtractConfig(formula="tuned - base", rank=3)
    digests = {
        extract(config, inputs, tmp_path / f"{n}" / "s.safetensors", threads=n).written.data_sha256  # type: ignore[union-attr]
        for n in (1, 2, 8)
    }
    assert len(digests) == 1


def test_the_rest_is_kept_whole(tmp_path: Path) -> None:
    extracted(tmp_path, rank=64, conv_rank=120, rest=True)
    result = baked(tmp_path)
    for key in SHAPES.keys() - {VAE, TOKENS}:
        torch.testing.assert_close(result[key], TUNED[key], rtol=1e-5, atol=2e-6)
    for key in (VAE, TOKENS):
        assert torch.equal(result[key], BASE[key])


def test_adapters_are_joined_and_resized(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    other = {key: value + 0.2 * noise(SHAPES[key], 9) for key, value in BASE.items()}
    extracted(tmp_path / "one", rank=2)
    extracted(tmp_path / "two", models=files(tmp_path / "two", base=BASE, tuned=other), rank=3)
    inputs = files(tmp_path, base=BASE)
    for name in ("one", "two"):
        inputs[name] = tmp_path / name / "style.safetensors"
    extracted(tmp_path, formula="0.5*one + 0.7*two + 0*base", models=inputs, rank=5)
    joined = baked(tmp_path)
    stage.merge(MergeConfig(formula="base + 0.5*one + 0.7*two"), inputs, tmp_path / "both.safetensors")
    both = safetensors.torch.load_file(tmp_path / "both.safetensors")
    for key in SHAPES:
        torch.testing.assert_close(joined[key], both[key], rtol=1e-5, atol=1e-5)
    extracted(tmp_path, formula="two", models={k: v for k, v in inputs.items() if k != "one"}, rank=1)
    shapes = {key: info.shape for key, info in read_header(tmp_path / "style.safetensors").tensors.items()}
    assert shapes["lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.lora_down.weight"] == (1, 24)


def test_the_header_says_what_uis_and_trainers_ask(tmp_path: Path) -> None:
    extracted(tmp_path, rank=4, conv_rank=2, dtype="fp16")
    header = read_header(tmp_path / "style.safetensors")
    name = "lora_unet_middle_block_0_in_layers_2"
    assert header.tensors[f"{name}.lora_up.weight"].shape == (12, 2, 1, 1)
    assert header.tensors[f"{name}.lora_down.weight"].shape == (2, 10, 3, 3)
    assert header.tensors[f"{name}.alpha"].shape == ()
    assert "lora_te2_text_model_encoder_layers_0_self_attn_v_proj.lora_up.weight" in header.tensors
    assert {info.dtype for info in header.tensors.values()} == {"F16"}
    assert header.metadata["ss_network_module"] == "networks.lora"
    assert (header.metadata["ss_network_dim"], header.metadata["ss_network_alpha"]) == ("4", "4.0")
    assert json.loads(header.metadata["ss_network_args"]) == {"conv_alpha": "2.0", "conv_dim": "2"}
    made = json.loads(header.metadata["enogu.extract"])
    assert made["formula"] == "tuned - base"
    assert len(made["models"]["base"]["sha256"]) == 64


def test_an_inspection_tells_what_was_extracted_and_from_what(tmp_path: Path) -> None:
    inputs = files(tmp_path, base=BASE, tuned=TUNED)
    stage.merge(MergeConfig(formula="0.5*base + 0.5*tuned"), inputs, tmp_path / "half.safetensors")
    models = {"half": tmp_path / "half.safetensors", "base": inputs["base"]}
    extracted(tmp_path, formula="half - base", models=models, rank=4, conv_rank=2)
    stage.merge(
        MergeConfig(formula="base + style"), {**inputs, "style": tmp_path / "style.safetensors"}, tmp_path / "m"
    )
    text = report(inspect(tmp_path / "style.safetensors")).splitlines()
    assert "  3 modules in UNet: LoRA, rank 2 to 4, alpha 2 to 4" in text
    assert "  ss_network_dim: 4" in text
    tree = text[text.index("  made as half - base") :]
    assert [line.split(" (")[0].strip() for line in tree[1:]] == ["base", "half", "base", "tuned"]
    assert tree[2].endswith("0.5*base + 0.5*tuned")
    assert "half - base" in report(inspect(tmp_path / "m"))


def test_a_difference_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="nothing to extract"):
        extracted(tmp_path, models=files(tmp_path, base=BASE, tuned=BASE))
    with pytest.raises(Refused, match="MODEL - BASE"):
        extracted(tmp_path, formula="0.5*base + 0.5*tuned")


def test_models_of_two_families_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="not of one family"):
        extracted(tmp_path, models=files(tmp_path, base=BASE, tuned={**TUNED, ATTENTION: noise((40, 25), 1)}))


def test_a_damaged_model_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    bad = {**TUNED, ATTENTION: TUNED[ATTENTION].clone().fill_(math.nan)}
    inputs = files(tmp_path, base=BASE, tuned=bad)
    with pytest.raises(Failed, match=r"attn1\.to_q\.weight: the difference holds NaN"):
        extracted(tmp_path, models=inputs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base.safetensors", "tuned.safetensors"]


def test_patterns_of_files_are_spelt_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files(tmp_path, base=BASE)
    (tmp_path / "pool").mkdir()
    files(tmp_path / "pool", one=TUNED, two=BASE)
    monkeypatch.chdir(tmp_path)
    assert main(["extract", "mean('pool/*.safetensors') - base", "base=base.safetensors", "-o", "x.safetensors"]) == 0
    quoted = "0.5*'pool/one.safetensors' + 0.5*'pool/two.safetensors' - 'base.safetensors'"
    assert main(["extract", quoted, "-o", "y.safetensors"]) == 0
    x, y = (safetensors.torch.load_file(f"{name}.safetensors") for name in "xy")
    assert x.keys() == y.keys()
    assert all(torch.equal(x[key], y[key]) for key in x)
    assert "pool/" not in read_header(tmp_path / "x.safetensors").metadata["enogu.extract"]


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files(tmp_path, base=BASE, tuned=TUNED)
    out = tmp_path / "style.safetensors"
    given = ["extract", str(tmp_path / "tuned.safetensors"), "--base", str(tmp_path / "base.safetensors")]
    assert main([*given, "--rank", "3", "-o", str(out)]) == 0
    assert "missing in all" in capsys.readouterr().out
    assert main([*given, "-o", str(out)]) == 2
    assert "exists" in capsys.readouterr().err
    assert main([*given, "-o", str(tmp_path / "x.safetensors"), "--rank", "0"]) == 2
    assert main(["extract", "nowhere.safetensors", "-o", str(tmp_path / "x.safetensors")]) == 2
    capsys.readouterr()
    assert main(["extract", str(tmp_path / "tuned.safetensors"), "-o", str(tmp_path / "x.safetensors")]) == 2
    assert "tuned.safetensors is a checkpoint; --base FILE says what it began from" in capsys.readouterr().err
