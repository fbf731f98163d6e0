"""Aliases and implications: tables as sites export them, chains and circles, what stays unsaid."""

import gzip

import pytest

from enogu.captions.config import CaptionSet
from enogu.captions.reading import reader
from enogu.core.records.errors import Refused
from enogu.core.records.tag_relations import canonical, closure, read_pairs

from .conftest import post

IMPLICATIONS = """id,antecedent_name,consequent_name,created_at,status
1,witch_hat,hat,2010,active
2,cat_ears,animal_ears,2010,active
3,nekomimi_band,cat_ears,2010,active
4,smile,happy,2010,deleted
"""


def test_chains_of_aliases_end_and_circles_do_no_harm():
    assert canonical([("a", "b"), ("b", "c"), ("x", "x")]) == {"a": "c", "b": "c"}
    assert canonical([("p", "q"), ("q", "p")]) == {"q": "p"}


def test_implications_reach_as_far_as_they_go_under_the_names_of_today():
    found = closure([("a", "b"), ("b", "old"), ("new", "d"), ("c", "c"), ("m", "n"), ("n", "m")], {"old": "new"})
    assert found["a"] == {"b", "new", "d"}
    assert found["c"] == frozenset()
    assert (found["m"], found["n"]) == ({"n"}, {"m"})


@pytest.mark.parametrize("name", ["i.csv", "i.csv.gz", "i.jsonl", "i.parquet"])
def test_tables_are_read_as_sites_export_them(tmp_path, name):
    import io

    import polars as pl

    frame = pl.read_csv(io.StringIO(IMPLICATIONS), infer_schema=False)
    path = tmp_path / name
    if name.endswith("parquet"):
        frame.write_parquet(path)
    elif name.endswith("jsonl"):
        frame.write_ndjson(path)
    else:
        path.write_bytes(gzip.compress(IMPLICATIONS.encode()) if name.endswith("gz") else IMPLICATIONS.encode())
    assert read_pairs(path) == [("witch_hat", "hat"), ("cat_ears", "animal_ears"), ("nekomimi_band", "cat_ears")]


def test_tagcomplete_s_list_of_aliases_is_read(tmp_path):
    path = tmp_path / "danbooru.csv"
    path.write_text('1girl,0,6000000,"1girls,sole_female"\nhighres,5,5000000,"high_res,hires"\nsolo,0,5000000,\n')
    assert read_pairs(path) == [
        ("1girls", "1girl"),
        ("sole_female", "1girl"),
        ("high_res", "highres"),
        ("hires", "highres"),
    ]


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "", "\x00\xff"])
def test_another_table_is_refused(tmp_path, text):
    path = tmp_path / "other.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(Refused, match=r"other\.csv"):
        read_pairs(path)


@pytest.mark.parametrize(
    ("implied", "said"),
    [
        ("drop", "witch hat, nekomimi band, smile"),
        ("keep", "witch hat, hat, nekomimi band, animal ears, smile"),
        ("add", "witch hat, hat, nekomimi band, animal ears, smile, cat ears"),
    ],
)
def test_what_is_implied_need_not_be_said(captioned, tmp_path, implied, said):
    (tmp_path / "i.csv").write_text(IMPLICATIONS)
    (tmp_path / "a.csv").write_text("antecedent_name,consequent_name\nsmiling,smile\nkitsunemimi,animal_ears\n")
    posts = [post(1, tags_general=["witch_hat", "hat", "nekomimi_band", "kitsunemimi", "animal_ears", "smiling"])]
    tables = {"aliases": str(tmp_path / "a.csv"), "implications": str(tmp_path / "i.csv")}
    folder, _ = captioned(posts, sets={"tags": CaptionSet(order=("|||", "general"))}, implied=implied, **tables)
    assert sorted(reader(folder, 0).plain(1).split(", ")) == sorted(said.split(", "))


def test_a_tag_that_is_dropped_implies_nothing(captioned, tmp_path):
    (tmp_path / "i.csv").write_text(IMPLICATIONS)
    folder, _ = captioned(
        [post(1, tags_general=["witch_hat", "hat"])],
        sets={"tags": CaptionSet(order=("|||", "general"))},
        drop=("witch_*",),
        implications=str(tmp_path / "i.csv"),
    )
    assert reader(folder, 0).plain(1) == "hat"
