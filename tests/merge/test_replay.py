"""Recipes of other mergers give what those mergers' arithmetic gives, from models that are found by hash."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from enogu.cli import main
from enogu.core.networks.header import Header, TensorInfo, read_header
from enogu.core.networks.stream import save_tensors
from enogu.core.records import known_hashes
from enogu.core.records.errors import Refused
from enogu.core.records.known_hashes import KnownHashes
from enogu.merge.replay import read_replay
from enogu.merge.replay_files import find_files
from enogu.merge.replay_mecha import from_mecha
from enogu.merge.replay_records import Wanted
from enogu.merge.replay_webui import from_webui
from tests.merge import pico
from tests.merge.references import mixed_by_cosine

A, B, C = (pico.tensors(seed) for seed in range(3))
BLENDED = A.keys() - {pico.IDS}
MECHA = """version 0.1.0
model "/home/else/a.safetensors" model_config="sd1-ldm" merge_space="weight"
model "C:\\\\models\\\\b.safetensors" model_config="sd1-ldm" merge_space="weight"
model "c.safetensors" model_config="sd1-ldm" merge_space="weight"
"""  # as sd-mecha 1.1.8 writes it


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models" / "deep").mkdir(parents=True)
    pico.write(tmp_path / "models" / "deep", a=A, b=B, c=C)
    return tmp_path / "models"


def digest(folder: Path, name: str) -> str:
    return hashlib.sha256((folder / "deep" / f"{name}.safetensors").read_bytes()).hexdigest()


def leave(folder: Path, recipe: dict[str, Any]) -> Path:
    """Write a file whose header says of itself what a webui's merge says."""
    known = {digest(folder, name): {"name": f"{name.upper()} 1.0.safetensors [abc]"} for name in "abc"}
    path = folder.parent / "merged.safetensors"
    save_tensors(path, A, {"sd_merge_recipe": json.dumps(recipe), "sd_merge_models": json.dumps(known)})
    return path


def replayed(folder: Path, file: Path, *more: str) -> dict[str, Tensor]:
    out = folder.parent / "again.safetensors"
    assert main(["merge", "--replay", str(file), *more, "--models", str(folder), "-o", str(out)]) == 0
    return safetensors.torch.load_file(out)


@pytest.mark.parametrize(
    ("method", "multiplier", "weights"),
    [
        ("Weighted sum", 0.3, (0.7, 0.3, 0.0)),
        ("Add difference", 0.5, (1.0, 0.5, -0.5)),
        ("No interpolation", 0.3, (1.0, 0.0, 0.0)),
    ],
)
def test_a1111(folder: Path, method: str, multiplier: float, weights: tuple[float, float, float]) -> None:
    hashes = {
        f"{place}_model_hash": digest(folder, name)
        for place, name in zip(("primary", "secondary", "tertiary"), "abc", strict=True)
    }
    recipe = {"type": "webui", "interp_method": method, "multiplier": multiplier, "save_as_half": True, **hashes}
    result = replayed(folder, leave(folder, recipe))
    for key in BLENDED:
        exact = sum(weight * model[key].double() for weight, model in zip(weights, (A, B, C), strict=True))
        torch.testing.assert_close(result[key].double(), exact, rtol=2**-11, atol=2**-24)
    assert torch.equal(result[pico.IDS], A[pico.IDS])


def supermerger(folder: Path, **settings: Any) -> dict[str, Any]:
    models = {f"model_{name}": digest(folder, name) for name in "abc"}
    return {
        "type": "sd-webui-supermerger",
        "mode": "Weight sum",
        "calcmode": "normal",
        "mbw": False,
        "base_alpha": 0.25,
        "base_beta": 0.5,
        "elemental_merge": "",
        "Off": [],
        **models,
        **settings,
    }


def test_supermerger_block_weights_and_elements(folder: Path) -> None:
    weights = [i / 32 for i in range(25)]
    recipe = supermerger(folder, mbw=True, weights_alpha=weights, elemental_merge=["OUT03-OUT05:in_layers:1"])
    recipe["elemental_merge"].append("NOT IN00-M00 OUT00:NOT in_layers:0.75")
    result = replayed(folder, leave(folder, recipe))
    numbers = {pico.TEXT: 0.75, pico.VAE: 0.75, pico.TIME: 0.0, pico.MIDDLE: weights[12], pico.HEAD: 0.75}
    numbers |= {pico.unet(f"IN{i:02d}"): weights[i] for i in range(12)}
    numbers |= {pico.unet(f"OUT{i:02d}"): 1.0 if 3 <= i <= 5 else weights[13 + i] for i in range(12)}
    for key, number in numbers.items():
        exact = torch.lerp(A[key].double(), B[key].double(), number)
        torch.testing.assert_close(result[key].double(), exact, rtol=2**-11, atol=2**-24, msg=key)


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ({"mode": "Add difference"}, (1.0, 0.25, -0.25)),
        ({"mode": "Triple sum"}, (0.25, 0.25, 0.5)),
        ({"mode": "sum Twice"}, (0.375, 0.125, 0.5)),
    ],
)
def test_supermerger_modes(folder: Path, settings: dict[str, Any], weights: tuple[float, float, float]) -> None:
    result = replayed(folder, leave(folder, supermerger(folder, **settings)))
    for key in BLENDED:
        exact = sum(weight * model[key].double() for weight, model in zip(weights, (A, B, C), strict=True))
        torch.testing.assert_close(result[key].double(), exact, rtol=2**-11, atol=2**-24)


@pytest.mark.parametrize(
    ("choice", "listed", "merged"),
    [
        ("Exclude", ["OUT03", "in_layers"], {pico.MIDDLE, pico.TIME, pico.HEAD, pico.TEXT, pico.VAE}),
        ("Exclude", ["BASE", "IN00"], BLENDED - {pico.TEXT, pico.VAE, pico.TIME, pico.unet("IN00")}),
        ("Exclude", ["VAE", " in_layers", ""], BLENDED - {pico.VAE}),
        ("Include", ["BASE", "M00"], {pico.TEXT, pico.VAE, pico.MIDDLE}),
        ("Include", ["time_embed", "Adjust"], {pico.TIME, pico.HEAD}),
        ("Include", [""], BLENDED),
    ],
)
@pytest.mark.parametrize("calc", ["normal", "tensor"])
def test_supermerger_leaves_a_where_its_lists_say_so(
    folder: Path, choice: str, listed: list[str], merged: set[str], calc: str
) -> None:
    """As its excluder() decides: block in the list, or a word of it in the key, and then Include or Exclude."""
    recipe = supermerger(folder, calcmode=calc, base_alpha=1.0, base_beta=0.0, **{choice: listed})
    result = replayed(folder, leave(folder, recipe))
    for key in BLENDED:
        assert torch.equal(result[key], (B if key in merged else A)[key]), key


@pytest.mark.parametrize("kind", ["A", "B"])
@pytest.mark.parametrize("excluded", [[], ["OUT03", "VAE", "time_embed"]])
def test_supermerger_mixes_by_cosine_outside_the_vae(folder: Path, kind: str, excluded: list[str]) -> None:
    """What its lists leave out stays a, but counts where the range of all likenesses is taken."""
    weights = [0.1 + i / 100 for i in range(25)]
    settings = {"mbw": True, "weights_alpha": weights, "base_alpha": 0.2, "Exclude": excluded}
    recipe = supermerger(folder, calcmode=f"cosine{kind}", **settings)
    result = replayed(folder, leave(folder, recipe))
    numbers = {pico.TEXT: 0.2, pico.TIME: weights[0], pico.MIDDLE: weights[12], pico.HEAD: weights[24]}
    numbers |= {pico.unet(f"IN{i:02d}"): weights[i] for i in range(12)}
    numbers |= {pico.unet(f"OUT{i:02d}"): weights[13 + i] for i in range(12)}
    a, b = ({key: model[key].double().numpy() for key in numbers} for model in (A, B))
    exact = {weight: mixed_by_cosine(a, b, weight, kind.lower()) for weight in set(numbers.values())}
    for key, weight in numbers.items():
        is_out = excluded and key in (pico.unet("OUT03"), pico.TIME)
        wanted = A[key].double() if is_out else torch.from_numpy(exact[weight][key])
        torch.testing.assert_close(result[key].double(), wanted, rtol=2**-10, atol=2**-14, msg=key)
    assert torch.equal(result[pico.VAE], A[pico.VAE])


def test_a_model_may_be_called_as_a_step_is(folder: Path) -> None:
    known = {digest(folder, name): {"name": f"{title}.safetensors"} for name, title in (("a", "Mixed"), ("b", "alpha"))}
    recipe = supermerger(folder, Exclude=["OUT03"])
    replay = from_webui(recipe, known, header=read_header(folder / "deep" / "a.safetensors"))
    assert list(replay.models) == ["m_mixed", "m_alpha"]
    assert "mixed = weighted_sum(m_mixed, m_alpha, alpha)" in replay.config.formula


def test_supermerger_does_not_see_keys_without_weight_or_bias(folder: Path) -> None:
    words = ["weight", "bias"]
    infos = {f"conditioner.embedders.1.model.{name}": TensorInfo("F16", (4,), 0, 8) for name in ("a.weight", "b.bias")}
    infos |= {
        f"conditioner.embedders.1.model.{name}": TensorInfo("F16", (4, 4), 0, 32) for name in ("text_projection",)
    }
    recipe = supermerger(folder)
    assert "':text_projection:0'" in from_webui(recipe, {}, header=Header(infos, {}, 0)).config.formula
    seen = {key: info for key, info in infos.items() if any(word in key for word in words)}
    assert "text_projection" not in from_webui(recipe, {}, header=Header(seen, {}, 0)).config.formula


def test_supermerger_counts_the_blocks_of_sdxl_by_the_names_of_sd1(folder: Path) -> None:
    stems = [f"{kind}_blocks.{i}" for kind in ("input", "output") for i in range(9)]
    info = TensorInfo("F16", (1,), 0, 2)
    keys = [f"model.diffusion_model.{stem}.0.weight" for stem in [*stems, "middle_block"]]
    recipe = supermerger(folder, mbw=True, weights_alpha=[0.5] * 20, elemental_merge=["IN09:attn2:0.3"])
    formula = from_webui(recipe, {}, header=Header(dict.fromkeys(keys, info), {}, 0)).config.formula
    assert "'M00:attn2:0.3'" in formula
    assert formula.count("0.5,") + formula.count("0.5]") == 19


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"calcmode": "cosineA", "mode": "Add difference"}, "computes with B - C there as if that were B"),
        ({"calcmode": "smoothAdd"}, "computes with B instead of B - C"),
        ({"calcmode": "extract", "mode": "Add"}, r"does not tell the option \(gamma\); write extract"),
        ({"calcmode": "tensor2"}, "'tensor2' .* replayed are: normal"),
        ({"Exclude": ["IN410"]}, "holds 'IN410', a part of a block"),
        ({"mode": "Sideways"}, "unknown mode 'Sideways'"),
        ({"mbw": True, "weights_alpha": [0.5] * 3}, "holds 3 numbers; the file has 25 blocks"),
        ({"mbw": True, "weights_alpha": None}, "not a list of numbers"),
        ({"base_alpha": "half"}, "base_alpha of the recipe is 'half'"),
        ({"model_b": None}, "does not name its model_b"),
        ({"type": "chattiori"}, "unknown kind of merge recipe 'chattiori'"),
    ],
)
def test_what_cannot_be_replayed_is_refused(folder: Path, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(Refused, match=says):
        read_replay(leave(folder, supermerger(folder, **settings)))


@pytest.mark.parametrize(
    ("lines", "formula", "weights"),
    [
        (
            'dict key=0.3\nliteral &3 model_config="singleton-mecha" merge_space="param"\n'
            'merge "convert_singleton" &4\nmerge "weighted_sum" &0 &1 &5',
            "weighted_sum(a, b, 0.3)",
            (0.7, 0.3, 0.0),
        ),
        ('merge "n_average" &0 &1 &2', "mean(a, b, c)", (1 / 3, 1 / 3, 1 / 3)),
        (
            'merge "subtract" &1 &2\ndict key=0.5\nliteral &4 model_config="singleton-mecha" merge_space="param"\n'
            'merge "convert_singleton" &5\nmerge "add_difference" &0 &3 &6\nmerge "fallback" &7 &0',
            "step1 = b - (c)\na + 0.5*(step1)",
            (1.0, 0.5, -0.5),
        ),
        (
            'dict BASE=0.25 M00=0.25 IN=0.25 OUT=0.25\nliteral &3 model_config="sd1-supermerger_blocks"\n'
            'merge "convert_sd1_blocks_to_ldm" &4\nmerge "weighted_sum" &0 &1 &5',
            "",
            (0.75, 0.25, 0.0),
        ),
    ],
)
def test_mecha(folder: Path, lines: str, formula: str, weights: tuple[float, float, float]) -> None:
    file = folder.parent / "recipe.mecha"
    file.write_text(MECHA + lines)
    assert formula in read_replay(file).config.formula
    result = replayed(folder, file)
    for key in BLENDED:
        exact = sum(weight * model[key].double() for weight, model in zip(weights, (A, B, C), strict=True))
        torch.testing.assert_close(result[key].double(), exact, rtol=2**-11, atol=2**-24)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version 0.2.0\n", "read are .mecha texts of version 0.1.0"),
        (MECHA + 'merge "ties_sum" &0 &1 k=0.5', "line 5: .*'ties_sum' has no exact counterpart"),
        (MECHA + 'merge "weighted_sum" &0 &9 0.5', "&9 points at no earlier line"),
        (MECHA + 'merge "weighted_sum" &0 &1', "lacks its alpha"),
        (MECHA + "merge", "line 5: merge lacks its first argument"),
        (MECHA + 'merge "perpendicular_component" &0', "lacks an argument"),
        (MECHA + 'merge "weighted_sum', "cannot read"),
        (MECHA + "paint &0", "unknown sd-mecha command 'paint'"),
        ("version 0.1.0", "ends without a model"),
    ],
)
def test_a_broken_mecha_recipe_is_refused_with_its_line(text: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        from_mecha(text, dtype="same")


def test_our_own_merge_is_replayed_to_the_byte(folder: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "first.safetensors", tmp_path / "again.safetensors"
    bound = [f"{name}={folder}/deep/{name}.safetensors" for name in "abc"]
    formula = "d = b - c\na + 0.5*d + dare(mean(b - a, c - a), drop=0.5)"
    assert main(["merge", formula, *bound, "-o", str(first), "--dtype", "bf16", "--seed", "7"]) == 0
    assert main(["merge", "--replay", str(first), "--models", str(folder), "-o", str(again)]) == 0
    assert first.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("option", ["--dtype=bf16", "--precision=fp64", "--vae=formula", "--text=formula", "--seed=1"])
def test_a_replay_takes_no_other_settings(option: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = leave(folder, supermerger(folder))
    assert main(["merge", "--replay", str(file), "--models", str(folder), "--plan", option]) == 2
    assert f"{option.replace('=', ' ')}: --replay repeats the merge as its recipe has it" in capsys.readouterr().err


def test_a_replay_may_let_nan_through(folder: Path) -> None:
    save_tensors(folder / "deep" / "b.safetensors", {**B, pico.MIDDLE: B[pico.MIDDLE] * math.nan}, {})
    result = replayed(folder, leave(folder, supermerger(folder)), "--keep-nonfinite")
    assert result[pico.MIDDLE].isnan().all()


def test_a_missing_model_is_named_by_hash_and_can_be_bound_by_hand(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = digest(folder, "b")
    file = leave(folder, supermerger(folder))
    (folder / "deep" / "b.safetensors").rename(folder.parent / "elsewhere.safetensors")
    assert main(["merge", "--replay", str(file), "--models", str(folder), "--plan"]) == 2
    assert f"b_1_0 (sha256 {lost}, called 'B 1.0.safetensors [abc]')" in capsys.readouterr().err
    capsys.readouterr()
    replayed(folder, file, f"b_1_0={folder.parent}/elsewhere.safetensors")
    assert "is not the b_1_0 of the recipe" not in capsys.readouterr().err
    other = f"b_1_0={folder}/deep/a.safetensors"
    assert main(["merge", "--replay", str(file), other, "--models", str(folder), "--plan"]) == 0
    assert f"is not the b_1_0 of the recipe (sha256 {lost[:10]})" in capsys.readouterr().err
    assert main(["merge", "--replay", str(file), "bb=x", "--models", str(folder), "--plan"]) == 2
    assert "unknown model of the recipe 'bb'" in capsys.readouterr().err


def test_a_file_without_a_recipe_says_so(folder: Path) -> None:
    with pytest.raises(Refused, match=r"no recipe .*nothing to replay"):
        read_replay(folder / "deep" / "a.safetensors")


def test_models_are_bound_by_hash_on_the_command_line(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    bound = [f"a={digest(folder, 'a')[:10]}", f"b={digest(folder, 'b').upper()}"]
    assert main(["merge", "b", *bound, "--models", str(folder), "-o", str(out)]) == 0
    assert torch.equal(safetensors.torch.load_file(out)[pico.MIDDLE], B[pico.MIDDLE])
    assert read_header(out).metadata["modelspec.merged_from"] == "B"


def test_hashes_of_unchanged_files_are_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(path: Path) -> str:
        read.append(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(known_hashes, "sha256_file", counted)
    cache, wanted = folder.parent / "hashes.json", {"x": Wanted(sha256=digest(folder, "c"), title="c.safetensors")}
    known = KnownHashes(cache)
    assert find_files(wanted, [folder], known) == {"x": folder / "deep" / "c.safetensors"}
    known.remember()
    assert [path.stem for path in read] == ["c"]  # the likely one first
    find_files(wanted, [folder], KnownHashes(cache))
    assert len(read) == 1
    save_tensors(folder / "deep" / "c.safetensors", A, {"changed": "yes"})
    with pytest.raises(Refused, match="not found in"):
        find_files(wanted, [folder], KnownHashes(cache))
    cache.write_text("{broken")
    assert not KnownHashes(cache).saw(folder / "deep" / "c.safetensors")


@pytest.mark.parametrize("damage", [{"dtype": 3}, {"vae": []}, {"formula": None}, {"models": "a"}, {"formula": "a +"}])
def test_a_damaged_recipe_of_our_own_is_refused(tmp_path: Path, damage: dict[str, Any]) -> None:
    recipe = {"formula": "a", "dtype": "same", "models": {"a": {"sha256": "0" * 64}}, **damage}
    save_tensors(tmp_path / "x.safetensors", A, {"enogu.merge": json.dumps(recipe)})
    with pytest.raises(Refused):
        read_replay(tmp_path / "x.safetensors")
