"""Patterns in a formula: models by name and files on disk, bound by name, the same in whatever order they lie."""

import json
from pathlib import Path

import pytest
import torch

from enogu.cli import main
from enogu.core.networks.header import read_header
from enogu.core.networks.source import open_source
from enogu.core.records.errors import Refused
from enogu.merge.config import LANGUAGE
from enogu.merge.patterns import spelt_out
from enogu.merge.words import WORDS
from enogu.recipe.plan import plan
from enogu.recipe.reading import read
from tests.merge import pico

RECIPE = '[recipe]\nname = "soup"\n[merge.soup]\nformula = "{}"\n'


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    (tmp_path / "pool").mkdir()
    pico.write(tmp_path / "pool", **{f"x{i}": pico.tensors(i) for i in range(3)})
    pico.write(tmp_path, base=pico.tensors(9))
    return tmp_path


def test_a_pattern_of_files_is_the_list_of_their_names(pool: Path) -> None:
    formula, files = spelt_out("base + ('pool/x[01].*' - base)", pool, {"base": None})
    assert formula == 'base + (["x0", "x1"] - base)'
    assert files == {f"x{i}": pool / "pool" / f"x{i}.safetensors" for i in (0, 1)}


def test_a_bound_file_keeps_its_name_and_equal_stems_are_told_apart(pool: Path) -> None:
    (pool / "pool" / "old").mkdir()
    (pool / "pool" / "x0.safetensors").rename(pool / "pool" / "old" / "x1.safetensors")
    formula, files = spelt_out("mean('pool/**/*.safetensors')", pool, {"b": pool / "pool" / "x2.safetensors"})
    assert formula == 'mean(["b", "pool/old/x1", "pool/x1"])'
    assert files.keys() == {"pool/old/x1", "pool/x1"}


def test_a_quoted_file_is_a_model_of_its_name(pool: Path) -> None:
    (pool / "pool" / "x0.safetensors").rename(pool / "My model [v1.5].safetensors")
    formula, files = spelt_out("0.5*'My model [v1.5].safetensors' + 0.5*'pool/x1.safetensors'", pool, {"base": None})
    assert formula == '0.5*"My model _v1.5_" + 0.5*"x1"'
    assert files == {"My model _v1.5_": pool / "My model [v1.5].safetensors", "x1": pool / "pool" / "x1.safetensors"}
    assert spelt_out("'x1.safetensors'", pool, {"x1.safetensors": None}) == ("'x1.safetensors'", {})


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("pool/y*.safetensors", "did you mean 'pool/x"),
        ("pool/x9.safetensors", "unknown file 'pool/x9.safetensors'; did you mean 'pool/x"),
        ("pol/*.safetensors", "there is no folder"),
        ("bas?e", "no model matches 'bas?e'; did you mean 'base'?"),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest(pool: Path, pattern: str, says: str) -> None:
    with pytest.raises(Refused, match=says.replace("?", r"\?")):
        spelt_out(f"mean('{pattern}')", pool, {"base": None})


def test_the_verb_averages_a_folder(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pool)
    assert main(["merge", "mean('pool/*.safetensors')", "-o", "out.safetensors", "--dtype", "fp32"]) == 0
    with open_source(pool / "out.safetensors") as source:
        got = source.tensor(pico.MIDDLE)
    assert torch.allclose(got, torch.stack([pico.tensors(i)[pico.MIDDLE].float() for i in range(3)]).mean(0))
    made = json.loads(read_header(pool / "out.safetensors").metadata["enogu.merge"])
    assert made["models"].keys() == {"x0", "x1", "x2"}
    assert "pool" not in json.dumps(made)
    replayed = ["merge", "--replay", "out.safetensors", "--models", "pool", "-o", "again.safetensors"]
    assert main(replayed) == 0
    assert (pool / "out.safetensors").read_bytes() == (pool / "again.safetensors").read_bytes()


def test_a_recipe_reads_the_files_that_match_and_knows_them_by_hash(pool: Path) -> None:
    path = pool / "recipe.toml"
    path.write_text(RECIPE.format("mean('pool/*.safetensors')"))
    first = plan(read(path))
    assert list(first.inputs("merge.soup")["models"]) == ["x0", "x1", "x2"]
    assert plan(read(path)).tasks["merge.soup"].hash == first.tasks["merge.soup"].hash
    pico.write(pool / "pool", x1=pico.tensors(7))
    assert plan(read(path)).tasks["merge.soup"].hash != first.tasks["merge.soup"].hash


def test_an_extraction_of_a_recipe_reads_the_files_that_match(pool: Path) -> None:
    path = pool / "recipe.toml"
    extraction = "[extract.style]\nformula = \"mean('pool/*.safetensors') - x0\"\n"
    path.write_text(RECIPE.format("0.5*'pool/x1.safetensors' + 0.5*'pool/x0.safetensors'") + extraction)
    assert sorted(plan(read(path)).inputs("extract.style")["models"]) == ["x0", "x1", "x2"]


def test_a_method_that_there_is_not_is_refused_when_the_recipe_is_read(pool: Path) -> None:
    path = pool / "recipe.toml"
    path.write_text(RECIPE.format("tise('pool/*.safetensors')"))
    with pytest.raises(Refused, match=r"merge\.soup.*unknown method 'tise'; did you mean 'ties'\?"):
        read(path)
    assert set(LANGUAGE) == WORDS.keys()


def test_a_pattern_of_names_matches_all_models_of_a_recipe(pool: Path) -> None:
    path = pool / "recipe.toml"
    models = "".join(f'[models.x{i}]\nfile = "pool/x{i}.safetensors"\n' for i in range(3))
    path.write_text(RECIPE.format("mean('x*')") + models + '[merge.x_more]\nformula = "0.5*x0 + 0.5*x1"\n')
    found = plan(read(path)).inputs("merge.soup")["models"]
    assert list(found) == ["x0", "x1", "x2", "x_more"]
    path.write_text(RECIPE.format("mean('y*')") + models)
    with pytest.raises(Refused, match=r"merge\.soup: no model matches 'y\*'; known: x0, x1, x2"):
        read(path)
