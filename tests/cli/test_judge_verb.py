"""The verb: what it prints, and what it refuses before any work."""

import numpy as np
import polars as pl
import pytest
from PIL import Image

from enogu.cli import main


@pytest.fixture
def grid(tmp_path):
    folder = tmp_path / "grid"
    folder.mkdir()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(folder / "a.png")
    row = {"image": "a.png", "prompt_index": 0, "prompt": "1girl", "tags": ["1girl"], "seed": 1}
    pl.DataFrame([{**row, "model": model} for model in ("base", "tuned")]).write_parquet(folder / "samples.parquet")
    return folder


def test_it_prints_a_table_and_a_verdict(grid, tmp_path, capsys):
    assert main(["judge", str(grid), "--group", "known=1girl", "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "recall.known" in printed
    assert "tuned draws known concepts as well as base, to within 0.1: +0.00 [+0.00, +0.00]" in printed
    assert (tmp_path / "out" / "scores.parquet").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "holds no samples.parquet"),
        (["GRID", "--group", "known"], "write NAME=TAG,TAG"),
        (["GRID", "--group", "known=1gril"], "did you mean '1girl'"),
        (["GRID", "--tagger", "nowhere"], "no tagger at nowhere"),
        (["GRID", "--heldout", "nowhere"], "holds no manifest.parquet"),
    ],
)
def test_mistakes_are_refused_with_a_remedy(grid, tmp_path, capsys, arguments, said):
    given = [str(grid) if word == "GRID" else word for word in arguments]
    assert main(["judge", *given, "-o", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
