"""Each site's posts, written as the site writes them, end in the normal form."""

import gzip
import json
from datetime import UTC, datetime

import pytest

from enogu.core.records.errors import Refused

from .conftest import draw, post
from .test_readers import read, skips

# A post of e621 as app/blueprints/post_legacy_blueprint.rb writes it.
E621 = {
    "id": 4001,
    "created_at": "2023-02-03T04:05:06.789-05:00",
    "updated_at": "2023-02-04T00:00:00.000-05:00",
    "file": {"width": 1200, "height": 900, "ext": "png", "size": 123456, "md5": "a" * 32, "url": "https://x/a.png"},
    "preview": {"width": 150, "height": 112, "url": "https://x/p.jpg", "alt": None},
    "sample": {"has": False, "width": 1200, "height": 900, "url": None, "alt": None, "alternates": {}},
    "score": {"up": 12, "down": -3, "total": 9},
    "tags": {
        "general": ["solo", "looking_at_viewer"],
        "artist": ["some_artist"],
        "contributor": ["some_helper"],
        "copyright": ["mythology"],
        "character": [],
        "species": ["dragon"],
        "invalid": [],
        "meta": ["hi_res"],
        "lore": ["twins_(lore)"],
    },
    "locked_tags": [],
    "change_seq": 1,
    "flags": {"pending": False, "flagged": True, "note_locked": False, "status_locked": False, "rating_locked": False,
              "deleted": False},
    "rating": "s",
    "fav_count": 30,
    "sources": ["https://one.example/1", "https://two.example/2"],
    "pools": [],
    "relationships": {"parent_id": 3990, "has_children": False, "has_active_children": False, "children": []},
    "approver_id": None,
    "uploader_id": 5,
    "uploader_name": "someone",
    "description": "",
    "comment_count": 0,
    "is_favorited": False,
    "vote": 0,
    "has_notes": False,
    "duration": None,
}  # fmt: skip
# The same post as app/blueprints/post_blueprint.rb writes it, in its extended view.
E621_NEW = {
    "id": 4001,
    "created_at": "2023-02-03T04:05:06.789-05:00",
    "files": {
        "meta": {"md5": "a" * 32, "ext": "png", "size": 123456, "duration": None, "has_sample": False},
        "original": {"width": 1200, "height": 900, "url": "https://x/a.png"},
        "preview": {"width": 150, "height": 112, "jpg": None, "webp": None},
        "sample": {"width": 1200, "height": 900, "jpg": None, "webp": None},
    },
    "uploader_id": 5,
    "stats": {"score": {"up": 12, "down": -3, "total": 9}, "fav_count": 30, "hotness": 1.5},
    "flags": E621["flags"],
    "has": {"parent": True, "children": False, "active_children": False, "notes": False, "sample": False},
    "relationships": {"parent_id": 3990, "children": []},
    "pools": [],
    "rating": "s",
    "locked_tags": [],
    "sources": E621["sources"],
    "description": "",
    "tags": E621["tags"],
}
TAGS_CSV = """id,name,category,post_count
1,solo,0,100
2,looking_at_viewer,0,90
3,some_artist,1,5
4,some_helper,2,4
5,mythology,3,50
6,dragon,5,60
7,hi_res,7,70
8,twins_(lore),8,2
9,a,0,1
10,"comma,tag",4,1
"""
MOEBOORU = {
    "id": 77,
    "tags": "blue_hair some_artist hatsune_miku vocaloid",
    "created_at": 1577934245,
    "updated_at": 1577934300,
    "creator_id": 11,
    "approver_id": None,
    "author": "uploader",
    "change": 1,
    "source": "https://www.pixiv.net/artworks/1",
    "score": 42,
    "md5": "b" * 32,
    "file_size": 1000,
    "file_ext": "jpg",
    "file_url": "https://files.example/image/b/77.jpg",
    "is_shown_in_index": True,
    "rating": "s",
    "is_rating_locked": False,
    "has_children": False,
    "parent_id": None,
    "status": "active",
    "is_pending": False,
    "width": 1000,
    "height": 1500,
    "is_held": False,
}
# A line of the BigQuery mirror, as Danbooru20xx spread it: strings for numbers, objects for tags.
BIGQUERY = {
    "id": "263167",
    "created_at": "2008-06-25 20:55:24.90123 UTC",
    "uploader_id": "13392",
    "score": "6",
    "source": "",
    "md5": "c" * 32,
    "last_commented_at": "1970-01-01 00:00:00 UTC",
    "rating": "s",
    "image_width": "850",
    "image_height": "1200",
    "is_note_locked": False,
    "file_ext": "jpg",
    "last_noted_at": "1970-01-01 00:00:00 UTC",
    "parent_id": "0",
    "has_children": False,
    "approver_id": "0",
    "file_size": "202000",
    "up_score": "7",
    "down_score": "-1",
    "is_pending": False,
    "is_flagged": False,
    "is_deleted": False,
    "is_banned": False,
    "tags": [
        {"id": "540830", "name": "1girl", "category": "0"},
        {"id": "3", "name": "somebody", "category": "1"},
        {"id": "4", "name": "touhou", "category": "3"},
        {"id": "5", "name": "reimu", "category": "4"},
        {"id": "6", "name": "highres", "category": "5"},
    ],
    "pools": [],
    "favs": ["1", "2"],
}


def lines(path, *posts):
    path.write_text("".join(json.dumps(each) + "\n" for each in posts), "utf-8")
    return path


@pytest.mark.parametrize("written", [E621, E621_NEW])
@pytest.mark.parametrize("way", ["lines", "wrapped", "pretty", "array"])
def test_e621_in_both_blueprints_and_however_it_is_wrapped(tmp_path, written, way):
    source = tmp_path / "posts.json"
    if way == "lines":
        lines(source, written)
    else:
        value = [written] if way == "array" else {"posts": [written]}
        source.write_text(json.dumps(value, indent=1 if way == "pretty" else None), "utf-8")
    frame, tally = read(source, tmp_path)
    row = frame.row(0, named=True)
    assert len(frame) == 1
    assert not tally.reasons
    assert (row["id"], row["source"], row["md5"], row["file_ext"]) == (4001, "e621", "a" * 32, "png")
    assert (row["rating"], row["rating_raw"]) == ("general", "s")  # e621's s is safe
    assert row["created_at"] == datetime(2023, 2, 3, 9, 5, 6, 789000, tzinfo=UTC)
    assert (row["score"], row["up_score"], row["down_score"], row["fav_count"]) == (9, 12, 3, 30)
    assert (row["width"], row["height"], row["file_size"], row["parent_id"]) == (1200, 900, 123456, 3990)
    assert (row["is_flagged"], row["is_deleted"], row["is_pending"]) == (True, False, False)
    assert row["source_url"] == "https://one.example/1"
    assert row["tags_general"] == ["solo", "looking_at_viewer"]
    assert row["tags_species"] == ["dragon"]
    assert row["tags_artist"] == ["some_artist"]
    assert row["tags_meta"] == ["hi_res", "some_helper", "twins_(lore)"]
    assert row["image"] == "4001.png"


def test_both_blueprints_may_stand_in_one_file(tmp_path):
    source = lines(tmp_path / "posts.jsonl", E621, {**E621_NEW, "id": 4002}, {**E621, "id": 4003})
    frame, _ = read(source, tmp_path)
    assert sorted(frame["id"]) == [4001, 4002, 4003]
    assert frame.drop("id", "image").unique().height == 1


def test_the_new_blueprint_without_categories_takes_them_from_the_table_of_tags(tmp_path):
    flat = [tag for tags in E621["tags"].values() for tag in tags]
    source = lines(tmp_path / "posts.jsonl", {**E621_NEW, "tags": flat})
    bare, _ = read(source, tmp_path)
    assert bare["tags_general"].to_list() == [flat]
    (tmp_path / "tags-2026-01-01.csv").write_text(TAGS_CSV)
    frame, _ = read(source, tmp_path)
    row = frame.row(0, named=True)
    assert row["tags_artist"] == ["some_artist"]
    assert sorted(row["tags_meta"]) == ["hi_res", "some_helper", "twins_(lore)"]


@pytest.mark.parametrize("written", [E621, E621_NEW])
def test_a_post_that_e621_withholds_gets_no_image_though_its_md5_is_known(tmp_path, written):
    hidden = json.loads(json.dumps(written).replace('"https://x/a.png"', "null"))
    frame, _ = read(lines(tmp_path / "posts.jsonl", hidden, {**written, "id": 4002}), tmp_path)
    assert frame["image"].to_list() == [None, "4002.png"]
    assert frame["md5"].to_list() == ["a" * 32] * 2


@pytest.mark.parametrize("packed", [True, False])
def test_the_csv_exports_of_e621_joined_with_their_tags(tmp_path, packed):
    header = (
        "id,uploader_id,created_at,md5,source,rating,image_width,image_height,tag_string,locked_tags,fav_count,file_ext,"
        "parent_id,change_seq,approver_id,file_size,comment_count,description,duration,updated_at,is_deleted,is_pending,"
        "is_flagged,score,up_score,down_score,is_rating_locked,is_status_locked,is_note_locked"
    )
    rows = [
        f'4001,5,2023-02-03 09:05:06.789,{"a" * 32},"https://one.example/1\nhttps://two.example/2",s,1200,900,'
        "dragon hi_res looking_at_viewer mythology solo some_artist some_helper twins_(lore),,30,png,3990,1,,123456,0,"
        '"a ""quoted"" text,\nover two lines",,2023-02-04 05:00:00,f,f,t,9,12,-3,f,f,f',
        "4002,5,2023-02-03",  # cut off
        f"x,5,2023-02-03 09:05:06,{'a' * 32},,e,1,1,a,,1,png,,1,,1,0,,,,f,f,f,1,1,0,f,f,f",
        f'4004,5,2023-02-03 09:05:06,{"d" * 32},,e,10,10,"a comma,tag",,1,png,,1,,1,0,,,,t,f,f,1,1,0,f,f,f',
    ]
    text = "\n".join([header, *rows]).encode()
    name = "posts-2026-01-01.csv" + (".gz" if packed else "")
    (tmp_path / name).write_bytes(gzip.compress(text) if packed else text)
    tags = "tags-2026-01-01.csv" + (".gz" if packed else "")
    (tmp_path / tags).write_bytes(gzip.compress(TAGS_CSV.encode()) if packed else TAGS_CSV.encode())
    frame, tally = read(tmp_path, tmp_path)
    assert skips(tally) == {"line 5": "too many or too few columns", "line 6": "no id"}
    wrapped, _ = read(lines(tmp_path / "one.json", E621), tmp_path)
    first = frame.head(1).row(0, named=True)
    same = [name for name in frame.columns if not name.startswith("tags_")]
    assert frame.head(1).select(same).equals(wrapped.select(same))
    assert (first["tags_species"], first["tags_artist"]) == (["dragon"], ["some_artist"])
    assert sorted(first["tags_meta"]) == ["hi_res", "some_helper", "twins_(lore)"]
    last = frame.row(1, named=True)
    assert (last["id"], last["rating"], last["is_deleted"]) == (4004, "explicit", True)
    assert (last["tags_general"], last["tags_character"]) == (["a"], ["comma,tag"])


def test_moebooru_takes_categories_from_its_dump_of_tags(tmp_path):
    held = {**MOEBOORU, "id": 78, "is_held": True}
    gone = {key: value for key, value in {**MOEBOORU, "id": 79, "status": "deleted"}.items() if key != "file_url"}
    konachan = {key: value for key, value in {**MOEBOORU, "id": 80}.items() if key != "file_ext"}
    (tmp_path / "posts.json").write_text(json.dumps([MOEBOORU, held, gone, konachan]), "utf-8")
    names = [("blue_hair", 0), ("some_artist", 1), ("hatsune_miku", 4), ("vocaloid", 3)]
    dump = [{"id": 1, "name": name, "count": 1, "type": kind, "ambiguous": False} for name, kind in names]
    (tmp_path / "tag.json").write_text(json.dumps(dump), "utf-8")
    frame, _ = read(tmp_path, tmp_path)
    first = frame.row(0, named=True)
    assert (first["rating"], first["rating_raw"], first["score"]) == ("general", "s", 42)
    assert first["created_at"] == datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert first["tags_general"] == ["blue_hair"]
    assert (first["tags_artist"], first["tags_copyright"]) == (["some_artist"], ["vocaloid"])
    assert first["tags_character"] == ["hatsune_miku"]
    assert frame["is_pending"].to_list() == [False, True, False, False]
    assert frame["is_deleted"].to_list() == [False, False, True, False]
    assert frame["image"].to_list() == ["77.jpg", "78.jpg", None, "80.jpg"]


def test_the_bigquery_mirror_of_danbooru(tmp_path):
    new = {**BIGQUERY, "id": "6000000", "rating": "g", "tags": []}
    frame, tally = read(lines(tmp_path / "2021000000000000.json", new, BIGQUERY), tmp_path)
    frame = frame.sort("id")
    first = frame.row(0, named=True)
    assert (first["id"], first["source"], first["width"], first["score"]) == (263167, "danbooru", 850, 6)
    assert frame["rating"].to_list() == ["unknown", "general"]  # an s of those years says too little
    assert first["created_at"] == datetime(2008, 6, 25, 20, 55, 24, 901230, tzinfo=UTC)
    assert [first[f"tags_{kind}"] for kind in ("general", "artist", "copyright", "character", "meta")] == [
        ["1girl"], ["somebody"], ["touhou"], ["reimu"], ["highres"],
    ]  # fmt: skip
    assert not tally.remarks


def test_a_dump_in_many_files_is_read_whole(tmp_path):
    for part in range(3):
        lines(tmp_path / f"posts{part:012}.json", *(post(part * 10 + number) for number in range(1, 5)))
    frame, _ = read(tmp_path, tmp_path)
    assert frame["id"].to_list() == [1, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23, 24]


def test_gallery_dl_sidecars_of_several_sites(tmp_path):
    danbooru = {
        **post(5, rating="s"), "category": "danbooru", "subcategory": "tag", "filename": "x", "extension": "png",
        "date": "2015-06-01 12:00:00", "tags": ["1girl", "smile"], "tags_general": ["1girl", "smile"],
        "tags_artist": ["artist_2"], "tags_meta": ["highres"], "tags_character": [], "tags_copyright": ["original"],
    }  # fmt: skip
    e621 = {
        "id": 9, "category": "e621", "rating": "s", "file": E621["file"], "score": E621["score"], "fav_count": 3,
        "tags": ["dragon", "solo"], "tags_species": ["dragon"], "tags_general": ["solo"], "created_at": "2020-01-01",
    }  # fmt: skip
    yandere = {**MOEBOORU, "category": "yandere", "tags_artist": "some_artist", "tags_character": "hatsune_miku"}
    other = {"id": 12, "category": "elsewhere", "rating": "s", "tags": "a b"}
    for name, sidecar in {"d_5": danbooru, "e_9": e621, "y_77": yandere, "o_12": other}.items():
        draw(tmp_path / "got" / f"{name}.png")
        (tmp_path / "got" / f"{name}.png.json").write_text(json.dumps(sidecar), "utf-8")
    draw(tmp_path / "got" / "bad.png")
    (tmp_path / "got" / "bad.png.json").write_text('{"id": 3,', "utf-8")
    frame, tally = read(tmp_path / "got", tmp_path)
    rows = {row["id"]: row for row in frame.to_dicts()}
    assert {number: (row["source"], row["rating"]) for number, row in rows.items()} == {
        5: ("danbooru", "sensitive"),
        9: ("e621", "general"),
        77: ("yande.re", "general"),
        12: ("elsewhere", "unknown"),
    }
    assert (rows[5]["tags_general"], rows[5]["tags_artist"], rows[5]["score"]) == (["1girl", "smile"], ["artist_2"], 10)
    assert (rows[9]["tags_species"], rows[9]["score"], rows[9]["width"]) == (["dragon"], 9, 1200)
    assert (rows[77]["tags_artist"], rows[77]["tags_general"]) == (["some_artist"], ["blue_hair", "vocaloid"])
    assert rows[77]["created_at"].year == 2020
    assert rows[5]["image"] == "d_5.png"
    assert skips(tally) == {"bad.png": ".json is no post (JSONDecodeError)"}


@pytest.mark.parametrize("form", ["object", "pretty", "lines"])
def test_kohya_metadata_in_both_forms(tmp_path, form):
    for name in ("7.png", "b/named.png", "stem.webp"):
        draw(tmp_path / "set" / name)
    entries = {
        str(tmp_path / "set" / "7.png"): {"tags": "1girl, blue hair, rating:general", "caption": "a girl, smiling",
                                          "image_size": [40, 30], "train_resolution": [40, 24]},
        "b/named.png": {"tags": "hatsune miku \\(vocaloid\\)"},
        "stem": {"caption": "only words"},
        "lost": {"caption": "no such picture"},
        "broken": "not an entry",
    }  # fmt: skip
    source = tmp_path / "set" / "meta_lat.json"
    if form == "lines":
        rows = [{"image_path": key, **value} for key, value in entries.items() if isinstance(value, dict)]
        source = lines(tmp_path / "set" / "meta.jsonl", *rows)
    else:
        source.write_text(json.dumps(entries, indent=2 if form == "pretty" else None), "utf-8")
    frame, tally = read(source, tmp_path)
    rows = {row["image"]: row for row in frame.to_dicts()}
    assert set(rows) == {"7.png", "b/named.png", "stem.webp"}
    first = rows["7.png"]
    assert (first["id"], first["rating"], first["caption"]) == (7, "general", "a girl, smiling")
    assert (first["width"], first["height"]) == (40, 30)
    assert first["tags_general"] == ["1girl", "blue_hair"]
    assert rows["b/named.png"]["tags_general"] == ["hatsune_miku_(vocaloid)"]
    assert rows["stem.webp"]["caption"] == "only words"
    assert tally.reasons["no image of that name"] == 1


def test_parquet_by_a_map_of_columns_and_by_the_names_it_knows(tmp_path):
    import polars as pl

    theirs = pl.DataFrame(
        {
            "post_id": [1, 2],
            "labels": [["1girl", "blue hair"], ["a,b", ""]],
            "safety": ["general", "s"],
            "when": [datetime(2020, 1, 1), None],
            "path": ["a/1.png", "a/2.png"],
        }
    )
    theirs.write_parquet(tmp_path / "any.parquet")
    columns = {"id": "post_id", "tags_general": "labels", "rating": "safety", "created_at": "when", "image": "path"}
    frame, _ = read(tmp_path / "any.parquet", tmp_path, columns=columns)
    assert frame["tags_general"].to_list() == [["1girl", "blue_hair"], ["a,b"]]
    assert frame["rating"].to_list() == ["general", "unknown"]
    assert frame["created_at"][0] == datetime(2020, 1, 1, tzinfo=UTC)
    assert frame["image"].to_list() == ["a/1.png", "a/2.png"]
    with pytest.raises(Refused, match="did you mean 'post_id'"):
        read(tmp_path / "any.parquet", tmp_path, columns={"id": "postid"})
    with pytest.raises(Refused, match=r"no column for id; give posts\.columns"):
        read(tmp_path / "any.parquet", tmp_path)
    pl.DataFrame([post(3, rating="s")]).write_parquet(tmp_path / "dan.parquet")
    known, _ = read(tmp_path / "dan.parquet", tmp_path)
    assert known["tags_artist"].to_list() == [["artist_0"]]
    assert known["rating"].to_list() == ["sensitive"]
