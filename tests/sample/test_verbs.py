"""`enogu sample` and `enogu grid`: what they write, and how they refuse."""

import hashlib
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch
from PIL import Image

from enogu.cli import main
from enogu.core.networks import checkpoint
from enogu.core.networks.family import family
from enogu.core.networks.model import StableDiffusion
from enogu.sample.infotext import parse, read_png


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("models") / "mini.safetensors"
    checkpoint.save(file, StableDiffusion(family("mini-sd1")).half().state_dict(), {})
    return str(file)


def test_sample_draws_with_the_size_of_the_model(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["sample", model, "-p", "1girl, hat", "--seed", "5", "--count", "2", "--steps", "1", "-o", str(tmp_path)]
    assert main(asked) == 0
    files = [tmp_path / "mini-5.png", tmp_path / "mini-6.png"]
    assert capsys.readouterr().out.split() == [str(file) for file in files]
    assert sorted(tmp_path.iterdir()) == files
    with Image.open(files[1]) as picture:
        assert picture.size == (64, 64)
    assert parse(read_png(files[1]) or "").params["Seed"] == "6"
    kept = files[0].stat().st_mtime_ns
    assert main([*asked[:-2], "--count", "3", "-o", str(tmp_path)]) == 0
    assert files[0].stat().st_mtime_ns == kept


def test_a_different_picture_of_the_same_name_counts_on(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def names(prompt: str) -> list[str]:
        assert main(["sample", model, "-p", prompt, "--count", "2", "--steps", "1", "-o", str(tmp_path)]) == 0
        return [Path(line).name for line in capsys.readouterr().out.split()]

    assert names("1girl") == ["mini-0.png", "mini-1.png"]
    first = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert names("1boy") == ["mini-0-2.png", "mini-1-2.png"]
    assert names("1other") == ["mini-0-3.png", "mini-1-3.png"]
    assert {path: path.read_bytes() for path in first} == first
    assert names("1boy") == ["mini-0-2.png", "mini-1-2.png"]
    assert len(list(tmp_path.iterdir())) == 6
    assert parse(read_png(tmp_path / "mini-1-2.png") or "").prompt == "1boy"


def test_a_grid_grows_and_replaces_no_other(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def grid(*arguments: str) -> int:
        return main(["grid", model, *arguments, "--steps", "1", "--size", "32x32", "-o", str(tmp_path)])

    assert grid("-p", "1girl", "--seeds", "1") == 0
    assert grid("-p", "1girl", "--seeds", "1", "2") == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    for other in (["-p", "1boy", "--seeds", "1"], ["-p", "1girl", "--seeds", "2", "3"]):
        assert grid(*other) == 2
        assert "is of another grid; choose another folder with -o" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_a_strange_sheet_is_not_replaced(model: str, tmp_path: Path) -> None:
    (tmp_path / "grid.png").write_text("mine")
    assert main(["grid", model, "-p", "1girl", "--steps", "1", "-o", str(tmp_path)]) == 2
    assert (tmp_path / "grid.png").read_text() == "mine"


def test_a_folder_around_one_file_is_known_by_the_hash_of_the_file(model: str, tmp_path: Path) -> None:
    folder = tmp_path / "train-tuned"
    folder.mkdir()
    shutil.copyfile(model, folder / "model.safetensors")
    assert main(["sample", str(folder), "-p", "1girl", "--steps", "1", "-o", str(tmp_path)]) == 0
    params = parse(read_png(tmp_path / "train-tuned-0.png") or "").params
    assert params["Model hash"] == hashlib.sha256(Path(model).read_bytes()).hexdigest()[:10]


def test_prompts_of_a_file_have_no_byte_order_mark_and_are_utf8(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts, out = tmp_path / "prompts.txt", tmp_path / "out"
    asked = ["grid", model, "--prompts", str(prompts), "--seeds", "1", "--steps", "1", "-o", str(out)]
    prompts.write_bytes("1girl\n".encode("utf-16"))
    assert main(asked) == 2
    assert "no text in UTF-8" in capsys.readouterr().err
    prompts.write_text("1girl\n1boy\n", encoding="utf-8-sig")
    assert main(asked) == 0
    assert pl.read_parquet(out / "samples.parquet")["prompt"].to_list() == ["1girl", "1boy"]


def test_grid_draws_a_sheet(model: str, tmp_path: Path) -> None:
    asked = ["grid", model, f"other={model}", "-p", "1girl", "-p", "1boy", "--seeds", "1", "2"]
    assert main([*asked, "--steps", "1", "--size", "32x40", "--sampler", "Euler", "-o", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.png", "images", "samples.parquet"]
    assert len(list(tmp_path.rglob("images/other/*.png"))) == 4


def test_a_diffusers_folder_draws_the_pictures_of_the_file_that_it_was_made_from(model: str, tmp_path: Path) -> None:
    assert main(["convert", model, "-o", str(tmp_path / "v1.5"), "--layout", "diffusers"]) == 0
    drawn = ["-p", "1girl", "--steps", "1", "-o", str(tmp_path)]
    for name in (model, str(tmp_path / "v1.5")):
        assert main(["sample", name, *drawn]) == 0
    file, folder = (Image.open(tmp_path / f"{name}-0.png") for name in ("mini", "v1.5"))
    assert file.tobytes() == folder.tobytes()
    assert main(["grid", model, str(tmp_path / "v1.5"), "--seeds", "1", *drawn]) == 0
    hashes = pl.read_parquet(tmp_path / "samples.parquet")["model_sha256"]
    assert hashes.n_unique() == len(hashes) == 2
    assert main(["sample", str(tmp_path / "images"), *drawn]) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sample", "nowhere.safetensors", "-p", "x"], "no checkpoint 'nowhere.safetensors'"),
        (["sample", "{model}", "-p", "x", "--size", "64"], "as in 512x768"),
        (["sample", "{model}", "-p", "x", "--size", "60x64"], "width = 60"),
        (["sample", "{model}", "-p", "x", "--count", "0"], "--count 0"),
        (["sample", "{model}", "-p", "(x:1.2.3)"], "'1.2.3'"),
        (["sample", "{model}", "-p", "x", "--seed", "-1"], "seed = -1"),
        (["sample", "{model}", "-p", "x", "--sampler", "euler a"], "did you mean 'Euler a'"),
        (["grid", "{model}", "{model}", "-p", "x"], "is taken"),
        (["grid", "{model}"], "no prompts"),
        (["grid", "{model}", "--prompts", "nowhere.txt"], "nowhere.txt"),
        (["grid", "a/b={model}", "-p", "x"], "slash"),
    ],
)
def test_a_mistake_is_refused_in_one_line(
    arguments: list[str], says: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [argument.replace("{model}", model) for argument in arguments]
    assert main([*given, "-o", str(tmp_path)]) == 2
    told = capsys.readouterr().err.strip()
    assert says in told
    assert "\n" not in told
    assert not list(tmp_path.iterdir())


def test_a_file_is_no_folder_for_pictures(tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"")
    for verb in ("sample", "grid"):
        assert main([verb, "mini-sd1", "-p", "x", "-o", str(tmp_path / "a.png")]) == 2
        assert f"-o {tmp_path / 'a.png'}: a file; give a folder" in capsys.readouterr().err
