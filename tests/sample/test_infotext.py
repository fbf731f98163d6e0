"""Infotext: a real one byte for byte, the grammar's corners, and the way through a PNG."""

import random
from pathlib import Path

import pytest
from PIL import Image

from enogu.sample.infotext import Infotext, number, parse, read_png, write_png
from enogu.sample.settings import Request, Settings

# A picture of AstolfoMix's model card, drawn by A1111 1.6.0 with the dynamic-thresholding extension.
REAL = """(aesthetic:0), (quality:0), (solo:0), (boy:0), (ushanka:0.98), [[braid]], [astolfo], [[moscow, russia]]
Negative prompt: (worst:0), (low:0), (bad:0), (exceptional:0), (masterpiece:0), (comic:0), (extra:0), (lowres:0), \
(breasts:0.5)
Steps: 64, Sampler: Euler, CFG scale: 4.5, Seed: 3179120050, Size: 1344x768, Model hash: f52ee1e6b3, \
Model: vcbp_mtd8_cwl-sd, VAE hash: 551eac7037, VAE: vae-ft-mse-840000-ema-pruned.ckpt, Denoising strength: 0.7, \
Clip skip: 2, Hires upscale: 2, Hires steps: 32, Hires upscaler: Latent, Dynamic thresholding enabled: True, \
Mimic scale: 1, Separate Feature Channels: False, Scaling Startpoint: MEAN, Variability Measure: AD, \
Interpolate Phi: 0.3, Threshold percentile: 100, Version: v1.6.0"""


def test_a_real_infotext_comes_back_byte_for_byte() -> None:
    read = parse(REAL)
    assert str(read) == REAL
    assert len(read.params) == 22
    assert read.params["Size"] == "1344x768"
    assert read.params["Interpolate Phi"] == "0.3"
    assert read.negative.endswith("(breasts:0.5)")


def test_fields_stand_in_the_order_of_a1111() -> None:
    settings = Settings(sampler="Euler", steps=28, cfg=4.5, width=64, height=96, clip_skip=2, emphasis="No norm")
    text = str(
        Request(prompt="a", negative="(b)", seed=5, settings=settings).infotext("half, merged", "0123456789abcdef")
    )
    assert text.startswith(
        "a\nNegative prompt: (b)\nSteps: 28, Sampler: Euler, Schedule type: Automatic, CFG scale: 4.5, Seed: 5, "
        'Size: 64x96, Model hash: 0123456789, Model: "half, merged", Clip skip: 2, RNG: CPU, Emphasis: No norm, '
        "Version: enogu "
    )
    plain = str(Request(prompt="a", settings=Settings(cfg=7.0)).infotext("m", "0" * 64))
    assert "Negative" not in plain
    assert "CFG scale: 7," in plain
    assert "Clip skip" not in plain
    assert "Emphasis" not in plain


def test_values_survive_writing_and_reading() -> None:
    rng = random.Random(0)
    for _ in range(300):
        values = {f"Key {letter}": "".join(rng.choices('ab ,:"\\\né#(', k=8)).strip() or "x" for letter in "ABCD"}
        prompt = "\n".join("".join(rng.choices("ab (:),[]", k=6)).strip() or "p" for _ in range(3))
        info = Infotext(prompt, rng.choice(["", "bad, (worse:1.2)\nand more"]), values)
        assert parse(str(info)) == info


def test_a_last_line_with_few_pairs_belongs_to_the_prompt() -> None:
    assert parse("a girl\nstyle: ink, mood: calm") == Infotext("a girl\nstyle: ink, mood: calm")
    assert parse("") == Infotext("")


def test_whole_numbers_have_no_point() -> None:
    assert [number(value) for value in (7.0, 4.5, 12)] == ["7", "4.5", "12"]


@pytest.mark.parametrize("prompt", ["1girl, hat", "café", "星空, 1girl"])
def test_png_carries_the_text(tmp_path: Path, prompt: str) -> None:
    info = Infotext(prompt, "bad", {"Steps": "20", "Sampler": "Euler", "Seed": "1"})
    write_png(tmp_path / "a.png", Image.new("RGB", (8, 8)), info)
    assert read_png(tmp_path / "a.png") == str(info)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_no_text_where_there_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG half of i")
    Image.new("RGB", (8, 8)).save(tmp_path / "silent.png")
    assert [read_png(tmp_path / name) for name in ("missing.png", "broken.png", "silent.png")] == [None] * 3
