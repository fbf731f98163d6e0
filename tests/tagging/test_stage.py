"""From pictures to tagged posts: what is seen is kept, thresholds come later, a kill costs one part at most."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import save_file

from enogu.core.records.errors import Failed, Refused
from enogu.core.records.files import read_json
from enogu.core.records.job import Job
from enogu.core.records.posts import read_manifest
from enogu.tagging.config import SightingsConfig, TaggedConfig
from enogu.tagging.scorer import fold
from enogu.tagging.sightings import Sightings
from enogu.tagging.stage import run_sightings, run_tagged
from tests.tagging.conftest import BLUE, GREEN, RED, model, tagger

COLOURFUL = {"red": (0, RED), "green": (0, GREEN), "blue": (4, BLUE)}
SMALL = {"red": (0, RED), "sky_blue": (0, BLUE)}
RATER = {"general": (9, BLUE), "sensitive": (9, GREEN), "questionable": (9, RED), "explicit": (9, BLUE)}


def sight(posts: Path, out: Path, *, taggers: list[Path], scorers: tuple[Path, ...] = ()) -> dict[str, object]:
    config = SightingsConfig(posts="p", taggers=tuple(map(str, taggers)), scorers=tuple(map(str, scorers)))
    inputs = {
        "posts": {"p": posts},
        "taggers": {str(path): path for path in taggers},
        "scorers": {str(path): path for path in scorers},
    }
    return run_sightings(config, Job(out=out, inputs=inputs, threads=1))


def tag(
    posts: Path, sightings: Path, out: Path, **settings: object
) -> tuple[dict[int, dict[str, object]], dict[str, object]]:
    config = TaggedConfig(posts="p", sightings="s", **settings)  # type: ignore[arg-type]
    summary = run_tagged(config, Job(out=out, inputs={"posts": {"p": posts}, "sightings": {"s": sightings}}))
    return {row["id"]: row for row in read_manifest(out).frame.iter_rows(named=True)}, summary


def test_tags_are_united_with_the_sites(posts: Path, tmp_path: Path) -> None:
    summary = sight(posts, tmp_path / "s", taggers=[tagger(tmp_path / "a", COLOURFUL)])
    assert summary == {"posts": 5, "looked_at": 4, "skipped": {"unreadable": 1}}
    rows, _ = tag(posts, tmp_path / "s", tmp_path / "t")
    assert rows[1]["tags_general"] == ["plain", "red"]
    assert rows[3]["tags_general"] == ["plain"]
    assert rows[3]["tags_character"] == ["blue"]
    assert rows[5]["tags_general"] == ["plain"]  # nobody could look at it
    assert (read_manifest(tmp_path / "t").root / "images/1.png").is_file()


def test_another_threshold_needs_no_other_look(posts: Path, tmp_path: Path) -> None:
    seer = tagger(tmp_path / "a", COLOURFUL)
    sight(posts, tmp_path / "s", taggers=[seer])
    (seer / "model.onnx").unlink()
    rows, _ = tag(posts, tmp_path / "s", tmp_path / "t", tags="models", thresholds={"general": 0.9, "character": 0.99})
    assert rows[4]["tags_general"] == ["red", "green"]
    assert rows[3]["tags_character"] == ["blue"]


def test_taggers_with_different_tags_make_one_ensemble(posts: Path, tmp_path: Path) -> None:
    sight(posts, tmp_path / "s", taggers=[tagger(tmp_path / "a", COLOURFUL), tagger(tmp_path / "b", SMALL)])
    rows, _ = tag(posts, tmp_path / "s", tmp_path / "t", tags="models", ensemble="vote")
    assert rows[3]["tags_general"] == ["sky_blue"]
    rows, _ = tag(posts, tmp_path / "s", tmp_path / "u", tags="models")
    assert rows[3]["tags_character"] == []  # `sky_blue` says `blue` more exactly
    rows, _ = tag(posts, tmp_path / "s", tmp_path / "v", tags="models", overlaps=True)
    assert rows[3]["tags_character"] == ["blue"]


def test_a_rating_that_is_seen_as_less_safe_is_heard(posts: Path, tmp_path: Path) -> None:
    sight(posts, tmp_path / "s", taggers=[tagger(tmp_path / "a", RATER)])
    rows, summary = tag(posts, tmp_path / "s", tmp_path / "t")
    assert len(rows) == 5
    assert summary["rating_conflicts"] == 2  # posts 1 and 4 look questionable and sensitive
    rows, summary = tag(posts, tmp_path / "s", tmp_path / "u", rating="safer")
    assert summary["left_out"] == 1
    assert {post: row["rating"] for post, row in rows.items()} == {
        2: "sensitive",
        3: "general",
        4: "sensitive",
        5: "general",
    }
    conflicts = pl.read_parquet(tmp_path / "u" / "conflicts.parquet")
    assert conflicts["id"].to_list() == [1, 4]


def test_scores_become_percentiles_and_show_what_they_favour(posts: Path, tmp_path: Path) -> None:
    model(tmp_path / "redness" / "model.onnx", [RED])
    sight(posts, tmp_path / "s", taggers=[tagger(tmp_path / "a", COLOURFUL)], scorers=(tmp_path / "redness",))
    rows, _ = tag(posts, tmp_path / "s", tmp_path / "t", aesthetic="redness")
    assert [rows[post]["aesthetic"] for post in (1, 2, 3, 4)] == [0.75, 0.25, 0.25, 0.75]  # ties share their ranks
    assert rows[5]["aesthetic"] is None
    favoured = {row["tag"]: row["bias"] for row in read_json(tmp_path / "t" / "bias.json")}
    assert favoured["red"] == pytest.approx(0.25)


def test_a_head_over_an_encoder_keeps_embeddings(posts: Path, tmp_path: Path) -> None:
    folder = tmp_path / "laion"
    model(folder / "encoder.onnx", [RED, GREEN, BLUE])
    save_file(
        {"layers.0.weight": torch.tensor([[2.0, -1.0, 0.0]]), "layers.0.bias": torch.tensor([5.0])},
        folder / "head.safetensors",
    )
    sight(posts, tmp_path / "s", taggers=[], scorers=(folder,))
    part = next(Sightings.open(tmp_path / "s").parts())
    np.testing.assert_allclose(part["laion.score"].to_numpy(), [7, 4, 5, 5 + 1 / np.sqrt(2)], atol=1e-6)
    assert part["laion.embedding"].dtype == pl.Array(pl.Float16, 3)


def test_layers_without_anything_between_them_are_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    chain = torch.nn.Sequential(*(torch.nn.Linear(a, b) for a, b in ((12, 8), (8, 4), (4, 1)))).double()
    named = {f"layers.{2 * int(k.split('.')[0])}.{k.split('.')[1]}": v for k, v in chain.state_dict().items()}
    save_file(named | {}, tmp_path / "head.safetensors")
    embeddings = torch.randn(5, 12, dtype=torch.double)
    expected = chain(torch.nn.functional.normalize(embeddings)).squeeze(1).detach().numpy()
    np.testing.assert_allclose(fold(tmp_path / "head.safetensors").scores(embeddings.numpy()), expected, rtol=1e-6)


def test_a_run_broken_off_looks_only_at_what_is_left(
    posts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("enogu.tagging.stage.PART", 2)
    seer = tagger(tmp_path / "a", COLOURFUL)
    sight(posts, tmp_path / "whole", taggers=[seer])
    sight(posts, tmp_path / "s", taggers=[seer])
    (tmp_path / "s" / "part-000002.parquet").unlink()
    (posts / "images" / "1.png").unlink()  # looked at already
    summary = sight(posts, tmp_path / "s", taggers=[seer])
    assert summary["looked_at"] == 4
    for path in (tmp_path / "whole").glob("part-*"):
        assert path.read_bytes() == (tmp_path / "s" / path.name).read_bytes()


def test_a_wrong_name_is_answered_with_the_nearest(posts: Path, tmp_path: Path) -> None:
    sight(posts, tmp_path / "s", taggers=[tagger(tmp_path / "a", COLOURFUL)])
    with pytest.raises(Refused, match="character"):
        tag(posts, tmp_path / "s", tmp_path / "t", thresholds={"charakter": 0.5})
    with pytest.raises(Refused, match="scorer"):
        tag(posts, tmp_path / "s", tmp_path / "t", aesthetic="beauty")


def test_logits_are_not_taken_for_probabilities(posts: Path, tmp_path: Path) -> None:
    seer = tagger(tmp_path / "a", COLOURFUL)
    model(seer / "model.onnx", [RED, GREEN, BLUE], divisor=10)
    with pytest.raises(Failed, match=r"a gives 0 to 25\.5.*activation"):
        sight(posts, tmp_path / "s", taggers=[seer])


def test_pictures_of_which_none_can_be_read_keep_their_own_tags(posts: Path, tmp_path: Path) -> None:
    for path in (posts / "images").iterdir():
        path.write_bytes(b"not a picture")
    model(tmp_path / "redness" / "model.onnx", [RED])
    seer = tagger(tmp_path / "a", COLOURFUL)
    summary = sight(posts, tmp_path / "s", taggers=[seer], scorers=(tmp_path / "redness",))
    assert summary["looked_at"] == 0
    rows, summary = tag(posts, tmp_path / "s", tmp_path / "t", aesthetic="redness")
    assert [row["tags_general"] for row in rows.values()] == [["plain"]] * 5
    assert summary["tags_a_post"] == 0
