"""Composing against saying each post by hand, whatever the batches; groups, spelling and dirty tags."""

import numpy as np
import polars as pl
import pytest

from enogu.captions import compose
from enogu.captions.config import CaptionSet, Group
from enogu.captions.reading import reader
from enogu.core.records.errors import Refused

from .conftest import post

ORDER = ("count", "artist", "|||", "eyes", "general")
GENERAL = ["1girl", "2boys", "solo", "blue_eyes", "red_eyes", "long_hair", "^_^", ":d", "x_x", "hat_(object)", "a,_b"]


def by_hand(one):
    """The caption in ORDER, said the plain way."""
    tags = list(dict.fromkeys(one["tags_general"]))
    counts = [tag for tag in tags if tag in ("1girl", "2boys")]
    eyes = [tag for tag in tags if tag.endswith("_eyes")]
    rest = [tag for tag in tags if tag not in (*counts, *eyes)]
    words = [*counts, *dict.fromkeys(one["tags_artist"]), *eyes, *rest]
    return ", ".join(word if word in ("^_^", "x_x") else word.replace("_", " ") for word in words if word.strip())


@pytest.mark.parametrize("batch", [1, 7, 10_000])
def test_every_post_says_what_it_says_alone(captioned, monkeypatch, batch):
    monkeypatch.setattr(compose, "BATCH", batch)
    rng = np.random.default_rng(batch)
    posts = [
        post(
            int(number),
            tags_general=rng.choice(GENERAL, rng.integers(0, 12)).tolist(),
            tags_artist=rng.choice(["a_b", "c", " "], rng.integers(0, 3)).tolist(),
        )
        for number in rng.permutation(60)
    ]
    sets = {"tags": CaptionSet(order=ORDER), "back": CaptionSet(order=("general", "|||", "count"))}
    folder, _ = captioned(posts, sets=sets, groups={"eyes": Group(tags=("*_eyes",))})
    read = reader(folder, 0)
    record = pl.read_parquet(folder / "captions.parquet")
    assert (len(record), record["post"].n_unique()) == (120, 60)
    spelt = {
        (one["post"], one["set"]): ", ".join(word for group in one["groups"] for word in group["words"])
        for one in record.to_dicts()
    }
    for one in posts:
        assert read.plain(one["id"]) == by_hand(one) == spelt[one["id"], "tags"]
        assert read.plain(one["id"], "back") == spelt[one["id"], "back"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "miku (vocaloid), ^_^, long hair, hat (object), k_k"),
        ({"escape": True}, r"miku \(vocaloid\), ^_^, long hair, hat \(object\), k_k"),
        ({"underscores": True}, "miku_(vocaloid), ^_^, long_hair, hat_(object), k_k"),
        ({"faces": ()}, "miku (vocaloid), ^_^, long hair, hat (object), k k"),
        ({"separator": " "}, "miku (vocaloid) ^_^ long hair hat (object) k_k"),
    ],
)
def test_tags_are_spelt_as_asked(captioned, settings, said):
    one = post(1, tags_character=["miku_(vocaloid)"], tags_general=["^_^", "long_hair", "hat_(object)", "k_k"])
    sets = {"tags": CaptionSet(order=("character", "|||", "general"))}
    folder, _ = captioned([one], sets=sets, **{"faces": ("k_k",), **settings})
    assert reader(folder, 0).plain(1) == said


def test_species_are_said_where_the_order_says(captioned):
    sets = {"tags": CaptionSet(order=("species", "|||", "general"))}
    folder, _ = captioned([post(1, tags_species=["domestic_cat"]), post(2)], sets=sets)
    assert reader(folder, 0).plain(1).startswith("domestic cat, 1girl, blue hair")
    assert reader(folder, 0).plain(2).startswith("1girl, blue hair")  # no order says "count", so people stay general


def test_a_thousand_tags_on_a_post_are_all_said(captioned):
    tags = [f"tag_{number}" for number in range(1250)]
    folder, _ = captioned([post(1, tags_general=tags)], sets={"tags": CaptionSet(order=("|||", "general"))})
    assert reader(folder, 0).plain(1) == ", ".join(tag.replace("_", " ") for tag in tags)


def test_a_group_may_not_take_the_name_of_another(captioned):
    with pytest.raises(Refused, match=r"groups\.artist: a group of this name"):
        captioned([post(1)], groups={"artist": Group(tags=("x",))})
    with pytest.raises(Refused, match="'generic'; did you mean 'general'"):
        captioned([post(1)], groups={"eyes": Group(tags=("x",), of="generic")})
    with pytest.raises(Refused, match="'eys'; did you mean 'eyes'"):
        captioned([post(1)], groups={"eyes": Group(tags=("x",))}, order=("eys", "|||"))
