"""The grid stage: its records, its sheet, and going on after a kill."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from enogu.core.networks import checkpoint
from enogu.core.networks.family import family
from enogu.core.networks.model import StableDiffusion
from enogu.core.records.errors import Refused
from enogu.core.records.hashes import sha256_file
from enogu.core.records.job import Job
from enogu.sample import cell
from enogu.sample.config import GridConfig, PromptConfig
from enogu.sample.infotext import parse, read_png
from enogu.sample.sheet import MOST_PIXELS, shown_size
from enogu.sample.stage import run

GRID = GridConfig(
    models=("base", "tuned"),
    prompts=(
        "1girl, (red hair:1.2)",
        PromptConfig(text="a witch, masterpiece", tags=("witch_hat",), negative=""),
        "1boy, hat",
    ),
    negative="bad quality",
    seeds=(3, 11),
    steps=2,
    width=32,
    height=32,
    sampler="Euler",
    emphasis="No norm",
    batch=4,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, files = tmp_path_factory.mktemp("models"), {}
    for seed, name in enumerate(("base", "tuned")):
        torch.manual_seed(seed)
        files[name] = folder / f"{name}.safetensors"
        checkpoint.save(files[name], StableDiffusion(family("mini-sd1")).half().state_dict(), {})
    return files


@pytest.fixture(scope="module")
def drawn(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("grid")
    assert run(GRID, Job(out=out, inputs={"models": models}))["drawn"] == 12
    return out


def test_every_picture_is_recorded_and_says_what_it_is(drawn: Path, models: dict[str, Path]) -> None:
    frame = pl.read_parquet(drawn / "samples.parquet")
    assert len(frame) == 12
    assert frame["model"].to_list() == ["base"] * 6 + ["tuned"] * 6
    assert frame["prompt_index"].to_list() == [0, 0, 1, 1, 2, 2] * 2
    assert frame["seed"].to_list() == [3, 11] * 6
    assert frame["tags"].to_list()[::2][:3] == [["1girl", "red_hair"], ["witch_hat"], ["1boy", "hat"]]
    assert frame["negative"].to_list()[::2][:3] == ["bad quality", "", "bad quality"]
    assert set(frame["model_sha256"]) == {sha256_file(file) for file in models.values()}
    for row in frame.iter_rows(named=True):
        info = parse(read_png(drawn / row["image"]) or "")
        assert (info.prompt, info.negative) == (row["prompt"], row["negative"])
        assert info.params["Model"] == row["model"]
        assert info.params["Model hash"] == row["model_sha256"][:10]
        assert info.params["Seed"] == str(row["seed"])
        with Image.open(drawn / row["image"]) as picture:
            assert picture.size == (32, 32)
    assert frame.select("model", "prompt_index", "seed").is_unique().all()


def test_a_killed_grid_goes_on_with_what_is_missing(
    drawn: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.stat().st_mtime_ns for path in drawn.rglob("images/*/*.png")}
    lost, stale = sorted(before)[3], sorted(before)[8]
    pixels = np.asarray(Image.open(lost))
    lost.unlink()
    Image.new("RGB", (32, 32)).save(stale)  # another program's picture under our name
    loaded: list[str] = []

    def counted(path: Path, device: str) -> StableDiffusion:
        loaded.append(path.stem)
        return checkpoint.load_model(path, device)

    monkeypatch.setattr(cell, "load_model", counted)
    assert run(GRID, Job(out=drawn, inputs={"models": models}))["drawn"] == 2
    assert loaded == ["base", "tuned"]
    untouched = before.keys() - {lost, stale}
    assert all(path.stat().st_mtime_ns == before[path] for path in untouched)
    assert np.abs(np.asarray(Image.open(lost)).astype(int) - pixels).max() <= 1
    assert run(GRID, Job(out=drawn, inputs={"models": models}))["drawn"] == 0
    assert len(loaded) == 2


def test_the_sheet_shows_every_picture(drawn: Path) -> None:
    with Image.open(drawn / "grid.png") as sheet:
        page = np.asarray(sheet.convert("RGB")).astype(int)
    shown = shown_size(32, 32, 12)
    assert shown == (160, 160)
    for path in drawn.rglob("images/*/*.png"):
        with Image.open(path) as picture:
            middle = np.asarray(picture.resize(shown, Image.Resampling.LANCZOS))[40:120, 40:120].astype(int)
        assert _is_inside(middle, page)


def _is_inside(part: np.ndarray, page: np.ndarray) -> bool:
    """Return whether a part of a page looks just so; its first pixel is looked for first."""
    rows, columns = np.nonzero((page == part[0, 0]).all(axis=-1))
    height, width = part.shape[:2]
    return any(np.array_equal(page[y : y + height, x : x + width], part) for y, x in zip(rows, columns, strict=True))


def test_pictures_on_a_sheet_are_large_but_the_sheet_is_not_huge() -> None:
    assert shown_size(64, 64, 30) == (128, 128)
    assert shown_size(512, 768, 30) == (107, 160)
    width, height = shown_size(512, 512, 10_000)
    assert width * height * 10_000 <= MOST_PIXELS


def test_prompts_come_from_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("# a comment\n1girl, hat\n\n  1boy  \n", encoding="utf-8")
    config = GridConfig(models=("m",), prompts=("first",), prompts_file=str(tmp_path / "prompts.txt"))
    assert [row.text for row in config.rows()] == ["first", "1girl, hat", "1boy"]
    with pytest.raises(Refused, match=r"prompts_file = .*nowhere"):
        GridConfig(models=("m",), prompts_file="nowhere.txt").rows()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"models": ()}, "models is empty"),
        ({"prompts": ()}, "no prompts"),
        ({"seeds": ()}, "seeds = "),
        ({"seeds": (1, 1)}, "none twice"),
        ({"batch": -1}, "batch = -1"),
        ({"prompts": ("(a:1.2.3)",)}, "1.2.3"),
        ({"negative": "(a:..)"}, r"'\.\.'"),
        ({"sampler": "DDPM"}, "unknown sampler"),
    ],
)
def test_a_grid_without_pictures_is_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(Refused, match=says):
        GridConfig(**{"models": ("m",), "prompts": ("hat",), **change})


@pytest.mark.parametrize(("side", "batch"), [(64, 64), (128, 64), (256, 16), (512, 4), (1024, 1), (2048, 1)])
def test_a_batch_is_a_megapixel(side: int, batch: int) -> None:
    assert GridConfig(models=("m",), prompts=("hat",), width=side, height=side).pictures_at_once() == batch
