"""Agreement with sd-mecha and mergekit, and every listed disagreement: their answers were stored by make_answers.py."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from enogu.core.networks.stream import save_tensors
from enogu.merge import stage
from enogu.merge.config import MergeConfig
from enogu.merge.methods.della import keep_chance

PEERS = Path(__file__).parent / "peers"
TABLE = tomllib.loads((PEERS / "cases.toml").read_text(encoding="utf-8"))
ANSWERS = safetensors.torch.load_file(PEERS / "answers.safetensors")
NAMES = ("vector", "matrix", "kernel")
KEY = "model.diffusion_model.middle_block.0."
DIFFERENT = 1e-4  # a listed disagreement is at least this large


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("peers")
    for letter in "abcd":
        save_tensors(folder / letter, {f"{KEY}{name}": ANSWERS[f"{letter}/{name}"] for name in NAMES}, {})
    return {letter: folder / letter for letter in "abcd"}


def compare(case: dict[str, Any], ours: dict[str, torch.Tensor]) -> None:
    for name in case.get("only", NAMES):
        theirs = ANSWERS[f"{case['tool']}: {case['theirs']}/{name}"]
        if "differs" in case:
            assert float((theirs - ours[name]).abs().max()) > DIFFERENT, (name, case["differs"])
        else:
            torch.testing.assert_close(ours[name], theirs, rtol=TABLE["tolerance"], atol=TABLE["tolerance"], msg=name)


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: f"{case['tool']}: {case['theirs']}"[:60])
def test_peers_agree_or_differ_as_the_table_says(case: dict[str, Any], files: dict[str, Path], tmp_path: Path) -> None:
    stage.merge(MergeConfig(formula=case["ours"], precision="fp64", dtype="fp32"), files, tmp_path / "out")
    found = safetensors.torch.load_file(tmp_path / "out")
    compare(case, {name: found[f"{KEY}{name}"] for name in NAMES})


@pytest.mark.parametrize("case", TABLE["chances"], ids=lambda case: f"{case['tool']}: {case['theirs']}"[:60])
def test_chances_agree_or_differ_as_the_table_says(case: dict[str, Any]) -> None:
    ours = {}
    for name in NAMES:
        a, b = (ANSWERS[f"{letter}/{name}"] for letter in "ab")
        ours[name] = a + (b - a) * keep_chance(b - a, keep=case["keep"], epsilon=case["epsilon"])
    compare(case, ours)


def test_every_disagreement_is_in_the_docs() -> None:
    docs = " ".join((PEERS.parents[2] / "docs" / "merge-methods.md").read_text(encoding="utf-8").split())
    every = [*TABLE["cases"], *TABLE["chances"]]
    assert [case["differs"] for case in every if case.get("differs", "") not in docs] == []
    assert all(f"{tool} {version}:" in docs for tool, version in TABLE["versions"].items())
