"""`enogu sample` and `enogu grid`: what they write, and how they refuse."""

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
