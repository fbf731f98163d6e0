"""The judge stage on flat pictures whose every recall is known beforehand."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from enogu.captions.config import CaptionsConfig, CaptionSet
from enogu.captions.reading import reader
from enogu.captions.stage import run as caption
from enogu.core.networks.checkpoint import save
from enogu.core.networks.family import family
from enogu.core.networks.model import StableDiffusion
from enogu.core.networks.tokenizer import tokenize
from enogu.core.records.errors import Failed, Refused
from enogu.core.records.files import read_json
from enogu.core.records.job import Job
from enogu.core.records.shards import Entry, ShardWriter
from enogu.judge import losses
from enogu.judge.config import JudgeConfig
from enogu.judge.intervals import Interval
from enogu.judge.stage import run
from enogu.judge.verdicts import Difference, loss_verdicts, recall_verdicts

GROUPS = {"new": ("rabbit ears",), "known": ("red_shirt", "blue_shirt")}


def judge(works: Any, tagger: Path, inputs: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    out = works.root / "judge"
    given = {"grid": {"compare": works.folders["grid.compare"]}, "tagger": {"t": tagger}, **(inputs or {})}
    job = Job(out=out, inputs=given, threads=1)
    run(JudgeConfig(grid="compare", tagger="t", **{"groups": GROUPS, **config}), job, reader=reader)
    measured: dict[str, Any] = read_json(out / "measures.json")
    return measured


def mean(measured: dict[str, Any], name: str, model: str) -> dict[str, Any]:
    (row,) = (row for row in measured["measures"] if (row["name"], row["model"]) == (name, model))
    return dict(row)


def test_recall_by_group_model_and_seed(works: Any, tagger: Path) -> None:
    measured = judge(works, tagger)
    assert mean(measured, "recall.new", "base")["mean"] == 0
    assert mean(measured, "recall.new", "tuned")["mean"] == 1
    half = mean(measured, "recall.new", "half")
    assert half["per_seed"] == [1, 0, 0]
    assert half["spread"] == pytest.approx(3**-0.5)
    assert half["low"] < 1 / 3 < half["high"]
    assert mean(measured, "recall.known", "base")["mean"] == 1
    assert mean(measured, "recall.known", "tuned")["mean"] == pytest.approx(2 / 3)  # white hides the red shirt
    assert mean(measured, "recall", "tuned")["mean"] == pytest.approx((1 + 1 + 2 / 3) / 3)
    assert measured["tags"]["rabbit_ears"] == {"base": 0, "tuned": 1, "half": pytest.approx(1 / 3)}


def test_verdicts_say_what_the_intervals_say(works: Any, tagger: Path) -> None:
    verdicts = judge(works, tagger)["verdicts"]
    assert "tuned draws new concepts better than base: +1.00 [+1.00, +1.00]" in verdicts
    assert "recall of new concepts, from least to most: base 0.00 ≈ half 0.33 < tuned 1.00" in [
        verdict.replace("< half", "≈ half").replace("≈ tuned", "< tuned") for verdict in verdicts
    ]
    assert any(verdict.startswith("whether half draws new concepts better or worse than base") for verdict in verdicts)
    assert not any("than tuned" in verdict or "than half" in verdict for verdict in verdicts)
    assert any(verdict.startswith("whether tuned and half draw known concepts better or worse") for verdict in verdicts)


def test_scores_hold_a_row_per_picture_and_metric(works: Any, tagger: Path) -> None:
    judge(works, tagger)
    scores = pl.read_parquet(works.root / "judge" / "scores.parquet")
    assert len(scores.filter(pl.col("metric") == "recall")) == 27
    ears = scores.filter((pl.col("metric") == "tag.rabbit_ears") & (pl.col("model") == "half")).sort("seed")
    assert ears["value"].to_list() == [1, 0, 0]


def test_the_ceiling_is_what_the_tagger_finds_in_real_drawings(works: Any, tagger: Path) -> None:
    measured = judge(works, tagger, {"heldout": {"drawn": works.folders["posts.drawn"]}}, heldout="drawn")
    assert measured["tag_ceilings"]["rabbit_ears"] == {"posts": 10, "recall": 1.0, "false_alarms": 0.0}
    assert measured["tag_ceilings"]["red_shirt"]["recall"] == 0.5  # in half of its drawings ears come first
    assert measured["ceiling"]["recall.new"] == 1
    assert measured["ceiling"]["recall.known"] == pytest.approx((0.5 + 1 + 0.5) / 3)


@pytest.fixture
def heldout(tmp_path: Path) -> dict[str, Any]:
    """Return a model under two names and the latents of three posts."""
    torch.manual_seed(0)
    model = StableDiffusion(family("mini-sd1"))
    torch.nn.init.normal_(model.unet.out[2].weight, std=0.02)  # type: ignore[arg-type]
    file = tmp_path / "a.safetensors"
    save(file, model.state_dict(), {})
    folder = tmp_path / "latents"
    writer = ShardWriter(folder)
    entries = [
        Entry(post=post, width=64, height=64, flipped=False, key=str(post), original_width=64, original_height=64,
              crop_left=0, crop_top=0)
        for post in range(3)
    ]  # fmt: skip
    writer.append(entries, [torch.randn(8, 8, 8).half().numpy() for _ in entries])
    writer.finish(writer.stored())
    return {"models": {"a": file, "same": file}, "latents": {"low": folder}}


LOSSES: dict[str, Any] = {"models": ("a", "same"), "latents": "low"}


def test_losses_are_paired_and_repeatable(works: Any, tagger: Path, heldout: dict[str, Any]) -> None:
    bins = judge(works, tagger, heldout, **LOSSES, loss_images=2)["loss_bins"]
    assert bins["images"] == 2
    assert bins["models"]["a"] == bins["models"]["same"]
    assert all(0.5 < loss < 2 for loss in bins["models"]["a"])  # an untrained model knows nothing of the noise


def test_captions_are_judged_by_the_rules_that_training_reads_them_by(
    works: Any, tagger: Path, heldout: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words that are dropped when captions are written, and a separator and a limit that are read with them."""
    sets = {"tags": CaptionSet(), "few": CaptionSet(limit=1)}
    rules: dict[str, Any] = {"order": ("general",), "shuffle_after": "", "drop": ("1girl",), "separator": " | "}
    written = tmp_path / "captions"
    posts = works.folders["posts.drawn"]
    caption(CaptionsConfig(posts="drawn", **rules, sets=sets), Job(out=written, inputs={"posts": {"drawn": posts}}))
    said: list[str] = []
    monkeypatch.setattr(losses, "tokenize", lambda text: said.append(text) or tokenize(text))
    inputs = {**heldout, "captions": {"c": written}}
    judge(works, tagger, inputs, **LOSSES, captions="c")
    assert sorted(set(said)) == ["blue shirt", "rabbit ears | red shirt", "red shirt"]
    said.clear()
    judge(works, tagger, inputs, **LOSSES, captions="c", caption_set="few")
    assert set(said) <= {"blue shirt", "rabbit ears", "red shirt"}
    with pytest.raises(Refused, match="fw"):
        judge(works, tagger, inputs, **LOSSES, captions="c", caption_set="fw")


def test_unknown_tags_are_counted_out_or_refused(works: Any, tagger: Path) -> None:
    samples = works.folders["grid.compare"] / "samples.parquet"
    frame = pl.read_parquet(samples)
    frame.with_columns(pl.concat_list("tags", pl.lit("masterpiece")).alias("tags")).write_parquet(samples)
    assert judge(works, tagger)["unjudged"] == ["masterpiece"]
    with pytest.raises(Refused, match="did you mean 'rabbit_ears'"):
        judge(works, tagger, groups={"new": ("rabit_ears",)})


def test_a_grid_with_a_hole_is_not_judged(works: Any, tagger: Path) -> None:
    samples = works.folders["grid.compare"] / "samples.parquet"
    frame = pl.read_parquet(samples)
    frame.filter(~((pl.col("model") == "half") & (pl.col("seed") == 3))).write_parquet(samples)
    with pytest.raises(Failed, match="lacks 3 samples"):
        judge(works, tagger)


def test_settings_that_cannot_be_measured_are_refused() -> None:
    with pytest.raises(Refused, match="needs both"):
        JudgeConfig(grid="g", tagger="t", models=("a",))
    with pytest.raises(Refused, match=r"groups\.new"):
        JudgeConfig(grid="g", tagger="t", groups={"new": ()})


def test_models_of_which_the_same_holds_share_a_sentence() -> None:
    ends = {"b": (0.9, 0.8, 1.0), "c": (0.01, -0.02, 0.05), "d": (0.3, 0.1, 0.5), "e": (0.02, -0.01, 0.04)}
    found = [Difference("recall.new", model, "a", Interval(*by)) for model, by in ends.items()]
    assert recall_verdicts(found) == [
        "b and d draw new concepts better than a: b +0.90, d +0.30",
        "c and e draw new concepts as well as a, to within 0.1: c +0.01, e +0.02",
    ]
    losses = [Difference("loss", model, "a", Interval(-mean, -high, -low)) for model, (mean, low, high) in ends.items()]
    assert loss_verdicts(losses) == [
        "b and d have a lower held-out loss than a: b −0.9000, d −0.3000",
        "whether c and e have a lower or higher held-out loss than a stays open: c −0.0100, e −0.0200",
    ]
    assert loss_verdicts(losses[:1]) == ["b has a lower held-out loss than a: −0.9000 [−1.0000, −0.8000]"]
