"""The stage: groups in order, words said as people write them, several sets, rules kept for reading."""

from datetime import UTC, datetime

import polars as pl
import pytest

from enogu.captions.config import ORDER, CaptionsConfig, CaptionSet
from enogu.captions.reading import reader
from enogu.captions.spoken import spoken
from enogu.core.records.errors import Refused
from enogu.core.records.files import read_json

from .conftest import post


def groups(folder, number, name="tags"):
    frame = pl.read_parquet(folder / "captions.parquet")
    (row,) = frame.filter(post=number, set=name)["groups"].to_list()
    return {group["name"]: group["words"] for group in row}


def test_the_default_caption_of_a_post(captioned):
    folder, summary = captioned([post(number) for number in range(1, 21)])
    assert summary["posts"] == 20
    assert reader(folder, 0).plain(20) == (
        "1girl, hatsune miku, vocaloid, some one, blue hair, cat ears, smile, ^_^, highres,"
        " masterpiece, safe, year 2019, mid"
    )
    assert list(groups(folder, 20)) == [
        *("count", "character", "copyright", "artist", "general", "meta"),
        *("quality", "rating", "year"),
    ]  # what says nothing is not there


def test_counts_leave_the_general_tags_wherever_they_stand(captioned):
    tags = ["smile", "6+girls", "solo", "male_focus", "2boys", "1girls_name"]
    folder, _ = captioned([post(1, tags_general=tags)])
    assert groups(folder, 1)["count"] == ["6+girls", "male focus", "2boys"]
    assert groups(folder, 1)["general"] == ["smile", "solo", "1girls name"]


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("long_hair", "long hair"),
        ("^_^", "^_^"),
        ("0_0", "0_0"),
        ("(o)_(o)", "(o)_(o)"),
        ("||_||", "||_||"),
        ("k_(king)", "k (king)"),
        ("a_b", "a b"),
    ],
)
def test_underscores_are_spaces_but_not_in_faces(tag, words):
    assert spoken(tag) == words


def test_dropped_tags_and_noise_stay_unsaid(captioned):
    posts = [post(1, tags_artist=["banned_artist", "some_one"], tags_meta=["bad_id", "highres", "photo_(medium)"])]
    folder, _ = captioned(posts, drop=("*_hair", "smile"))
    assert groups(folder, 1)["general"] == ["cat ears", "^_^"]
    assert groups(folder, 1)["artist"] == ["some one"]
    assert groups(folder, 1)["meta"] == ["highres"]
    folder, _ = captioned(posts, drop_noise=False)
    assert groups(folder, 1)["meta"] == ["bad id", "highres", "photo (medium)"]


def test_percentiles_are_among_all_that_the_source_had(captioned):
    folder, _ = captioned([post(number) for number in range(1, 101)], chosen=[50, 100])
    assert groups(folder, 50)["quality"] == ["normal quality"]
    assert groups(folder, 100)["quality"] == ["masterpiece"]


def test_a_post_with_nothing_known_still_has_a_caption(captioned):
    bare = {"id": 3, "rating": "unknown", "tags_general": [], "image": "3.png"}
    folder, _ = captioned([bare])
    assert reader(folder, 0).plain(3) == ""
    assert reader(folder, 0).caption(3, epoch=0) == ""


def test_sets_have_their_own_order_and_limit(captioned):
    sets = {
        "tags": CaptionSet(),
        "short": CaptionSet(limit=3),
        "look": CaptionSet(order=("artist", "|||", "general"), limit=2, priority=("artist",)),
    }
    folder, summary = captioned([post(1)], sets=sets)
    read = reader(folder, 0)
    assert read.plain(1, "short") == "1girl, hatsune miku, some one"
    assert read.plain(1, "look") == "some one, blue hair"
    assert set(summary["sets"]) == {"tags", "short", "look"}


def test_words_can_be_left_out_and_other_tables_taken(captioned):
    posts = [post(1, rating="explicit", score=150, created_at=datetime(2011, 1, 1, tzinfo=UTC))]
    folder, _ = captioned(
        posts, quality="animeboysxl", aesthetic="animeboysxl", rating="animeboysxl", year="", year_number=True
    )
    found = groups(folder, 1)
    assert (found["quality"], found["aesthetic"]) == (["best quality"], ["normal aesthetic"])
    assert (found["rating"], found["year"]) == (["very nsfw"], ["year 2011"])
    folder, _ = captioned(posts, quality="", rating="", year="hakubooru", year_number=False)
    found = groups(folder, 1)
    assert found["year"] == ["early"]
    assert not {"quality", "rating"} & set(found)


def test_the_rules_are_kept_for_reading(captioned):
    folder, _ = captioned([post(1)], drop_caption=0.25, shuffle_after="")
    assert read_json(folder / "captions.json")["sets"]["short"] == {
        "order": [name for name in ORDER if name != "|||"],
        "fallback": [],
        "shuffled": [],
        "shuffle_every": 1,
        "separator": ", ",
        "limit": 10,
        "budget": 0,
        "text_budget": 0,
        "priority": ["count", "character", "artist", "quality", "rating", "general"],
        "drop_caption": 0.25,
        "levels": [],
        "drop_tags": 0.0,
        "drop_varied": False,
        "drop_groups": {},
        "never_drop": ["count", "rating"],
        "spared": [],
    }


def test_the_summary_counts_who_says_what(captioned):
    posts = [post(1, fav_count=None), post(2, tags_artist=[]), post(3, tags_artist=["a", "b"], rating="unknown")]
    folder, summary = captioned(posts)
    said = summary["posts_that_say"]
    assert said == read_json(folder / "captions.json")["groups"]
    assert (said["quality"], said["artist"], said["rating"], said["aesthetic"], said["count"]) == (2, 2, 2, 0, 3)


def test_a_rerun_writes_the_same_bytes(captioned):
    folder, _ = captioned([post(number) for number in range(1, 9)])
    whole = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (folder / "tokens.json").unlink()
    captioned([post(number) for number in range(1, 9)])
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == whole


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"order": ("count", "|||", "generally")}, "did you mean 'general'"),
        ({"order": ("count", "|||", "count")}, "says count too often"),
        ({"order": ("count",)}, r"shuffle_after = '\|\|\|' is not in the order"),
        ({"never_drop": ("counts",)}, "did you mean 'count'"),
        ({"drop_caption": 1.0}, "below 1"),
        ({"drop_tags": -0.1}, "below 1"),
        ({"sets": {}}, "at least one caption set"),
    ],
)
def test_settings_that_no_caption_can_follow_are_refused(settings, message):
    with pytest.raises(Refused, match=message):
        CaptionsConfig(posts="p", **settings)


def test_an_unknown_table_or_year_is_refused_before_anything_is_written(captioned, tmp_path):
    for settings in ({"year": "hakuboru"}, {"quality": "x"}, {"year": "hakubooru"}):
        with pytest.raises(Refused):
            captioned([post(1, created_at=datetime(2031, 1, 1, tzinfo=UTC))], **settings)
    assert not (tmp_path / "captions").exists()
