"""A recipe's plan shows what becomes of every tensor of its merges, as `enogu merge --plan` does."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from enogu.cli import main
from enogu.core.networks.header import Header, Spec, layout, read_header
from enogu.core.networks.layouts import layouts
from enogu.core.networks.stream import save_tensors
from enogu.core.records.errors import Refused
from enogu.merge.config import MergeConfig
from enogu.merge.plan import make_plan
from enogu.merge.preview import preview
from tests.merge import pico

RECIPE = """
[recipe]
name = "r"
[models]
a = { file = "a.safetensors" }
b = { file = "b.safetensors" }
[merge.half]
formula = "mbw(a, b, 'GRAD_V', base=0.5)"
"""
AGAIN = '[merge.again]\nformula = "half + 0.5*(b - a)"\n'


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    pico.write(tmp_path, a=pico.tensors(0), b=pico.tensors(1))
    path = tmp_path / "r.toml"
    path.write_text(RECIPE)
    return path


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main([*arguments]) == 0
    return [line.strip() for line in capsys.readouterr().out.splitlines()]


def test_a_recipe_shows_its_merge_as_the_verb_does(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bound = [f"{name}={recipe.parent / name}.safetensors" for name in "ab"]
    one = shown(capsys, "merge", "mbw(a, b, 'GRAD_V', base=0.5)", *bound, "--plan", "--keys")
    *lines, cost = shown(capsys, "plan", str(recipe), "--keys")
    assert lines[lines.index("merge.half") + 1 :] == one[:-1]
    assert cost.startswith("reads ")
    assert "writes at " in cost
    (keyed,) = [line for line in lines if pico.unet("IN06") in line and line.startswith("merged")]
    assert keyed.split()[1:3] == ["F16", "6x5x3x3"]
    assert keyed.endswith("as 0.5*a + 0.5*b")
    brief = shown(capsys, "plan", str(recipe))
    assert not [line for line in brief if pico.unet("IN06") in line]
    assert sorted(path.name for path in recipe.parent.iterdir()) == ["a.safetensors", "b.safetensors", "r.toml"]


def test_programs_are_told_of_every_tensor_and_of_the_time(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(recipe), "--json"]) == 0
    (stage,) = json.loads(capsys.readouterr().out)
    assert {row["key"] for row in stage["preview"]["keys"]} == pico.tensors(0).keys()
    assert stage["seconds"] == stage["preview"]["costs"]["seconds"]
    assert {"bytes", "warnings", "block_weights", "tensors"} <= stage["preview"].keys()


def test_a_merge_of_a_merge_is_planned_before_it_is_made(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe.write_text(RECIPE + AGAIN)
    lines = shown(capsys, "plan", str(recipe))
    again = lines[lines.index("merge.again") :]
    assert any(line.startswith("note: half: not made yet, known from the plan above") for line in again)
    assert "UNet: 27 merged as 0.5*b + half - 0.5*a" in again
    assert main(["run", str(recipe), "half"]) == 0
    lines = shown(capsys, "plan", str(recipe))
    assert "merge.half" not in lines
    assert not [line for line in lines if "not made yet" in line]
    assert [line for line in lines if line.startswith("warning: a does not look like the ancestor of ")]


def test_families_that_do_not_fit_are_named() -> None:
    shapes = {"a": layouts()["sd1"].shapes, "b": layouts()["sdxl"].shapes}
    specs = {name: {key: Spec(torch.float16, shape) for key, shape in each.items()} for name, each in shapes.items()}
    headers = {name: Header(layout(each), {}, 0) for name, each in specs.items()}
    with pytest.raises(Refused, match=r"a and b are not of one family \(sd1 and sdxl\): their UNets share"):
        make_plan(MergeConfig(formula="0.5*a + 0.5*b"), headers)


def test_a_misspelt_preset_is_no_model(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("mbw(a, b, 'GRAD_W', base=0.5)", "blocks('GRAD_W')*a + blocks('GRAD_A')*b"):
        recipe.write_text(RECIPE.replace("mbw(a, b, 'GRAD_V', base=0.5)", word))
        assert main(["plan", str(recipe)]) == 2
        assert "unknown preset of block weights 'GRAD_W'; did you mean 'GRAD_V'?" in capsys.readouterr().err


def test_a_large_pool_is_told_in_short_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = pico.write(tmp_path, **{f"x{i:02d}": pico.tensors(i % 9) for i in range(40)})
    lines = shown(capsys, "merge", "mean('x*')", *(f"{name}={path}" for name, path in files.items()), "--plan")
    assert lines[0].endswith("x10, x11 and 28 more")
    assert max(map(len, lines)) < 320
    assert "x00, x09, x18, x27, x36 look the same: one model counts 5 times" in " ".join(lines)
    keyed = shown(capsys, "merge", "mean('x*')", *(f"{n}={path}" for n, path in files.items()), "--plan", "--keys")
    assert any(line.endswith("+ 0.025*x39") for line in keyed)


def test_licences_are_told_by_holder_and_handed_on_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {name: tmp_path / f"{name}.safetensors" for name in "abcm"}
    for seed, (name, licence) in enumerate({"a": "Rail", "b": "Fair", "c": "Rail"}.items()):
        save_tensors(files[name], pico.tensors(seed), {"modelspec.license": licence})
    bound = [f"{name}={path}" for name, path in files.items()]
    assert main(["merge", "mean(a, b, c)", *bound[:3], "-o", str(files["m"])]) == 0
    assert "warning: the models differ in licence (a, c: Rail; b: Fair)" in capsys.readouterr().out
    assert read_header(files["m"]).metadata["modelspec.license"] == "Rail; Fair"
    assert main(["merge", "0.5*m + 0.5*b", *bound, "-o", str(tmp_path / "n.safetensors")]) == 0
    assert "warning: the models differ in licence (m: Rail; m, b: Fair)" in capsys.readouterr().out
    assert read_header(tmp_path / "n.safetensors").metadata["modelspec.license"] == "Rail; Fair"


def test_what_is_written_in_two_dtypes_says_which(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe.write_text(RECIPE.replace("mbw(a, b, 'GRAD_V', base=0.5)", "0.5*a + 0.5*b") + 'dtype = "fp8_e4m3fn"\n')
    lines = shown(capsys, "plan", str(recipe))
    wide = "UNet: 3 merged as 0.5*a + 0.5*b, in F16"
    assert [line for line in lines if line.startswith("UNet")] == [wide, "UNet: 24 merged as 0.5*a + 0.5*b, in F8_E4M3"]


def test_a_merge_of_merges_is_sized_and_timed_before_they_are_made(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = '[merge.more]\nformula = "0.5*half + 0.5*other"\n'
    recipe.write_text(RECIPE + '[merge.other]\nformula = "b"\n' + more)
    assert main(["plan", str(recipe), "--json"]) == 0
    before = json.loads(capsys.readouterr().out)[-1]
    assert before["id"] == "merge.more"
    assert before["preview"]["note"].startswith("half, other: not made yet, known from the plan above;")
    assert before["seconds"] > 0.0
    assert main(["run", str(recipe), "half", "other"]) == 0
    capsys.readouterr()
    assert main(["plan", str(recipe), "--json"]) == 0
    after = json.loads(capsys.readouterr().out)[-1]
    assert before["preview"]["keys"] == after["preview"]["keys"]
    assert before["preview"]["bytes"] == after["preview"]["bytes"]


def test_a_full_disk_is_told_before(tmp_path: Path) -> None:
    found = preview(MergeConfig(formula="a"), pico.write(tmp_path, a=pico.tensors(0)), None, threads=1)
    assert not [line for line in found.lines(keys=False) if "room" in line]
    assert found.costs is not None
    full = replace(found, costs=replace(found.costs, free_bytes=0))
    assert "warning: the result takes 0 MiB, and the disk has room for 0 MiB" in full.lines(keys=False)
    assert full.told()["warnings"][-1].endswith("has room for 0 MiB")


def test_what_reads_an_adapter_to_come_says_so(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extract = '[extract.style]\nformula = "b - a"\n[merge.baked]\nformula = "a + 0.5*style"\n'
    recipe.write_text(RECIPE + extract)
    lines = shown(capsys, "plan", str(recipe))
    assert lines[lines.index("merge.baked") + 1].startswith("it reads what is not made yet")
