"""Sentences: told from lists of tags and from broken answers, kept by post, said in their place."""

import json
import re

import polars as pl
import pytest

from enogu.captions.config import CaptionsConfig, CaptionSet
from enogu.captions.reading import reader
from enogu.captions.texts import BROKEN, EMPTY, REPAIRED, SENTENCE, TAGS, usable
from enogu.core.networks.tokenizer import tokenize
from enogu.core.records.errors import Refused
from enogu.core.records.files import read_json

from .conftest import post

SENTENCES = [
    "A girl with long blue hair smiles at the viewer.",
    "The image shows a cat, a dog, and a bird, all sitting on a wooden bench under a tree.",
    "A watercolour painting of a lighthouse at dusk",
    "Two friends share an umbrella while walking home, rain falling around them.",
    "An emoji-style drawing: a red heart, centred on white.",
    'A sign in the window says "open". Behind it, plants.',
    "Portrait of a knight in silver armour, standing before a castle, banners in the wind.",
    "A bowl of ramen.",
    "{curly} brackets are used by the artist as a signature.",
    "This anime-style illustration depicts a young woman with short hair. She wears a school uniform.",
]
TAG_LISTS = [
    "1girl, solo, long hair, blue eyes, smile, looking at viewer",
    "1girl solo long_hair blue_eyes smile looking_at_viewer",
    "canine mammal anthro solo clothing standing outside day",
    "blue_sky, cloud, day, no_humans, outdoors, scenery",
    "fox, forest, snow, winter, night",
    "digital_media_(artwork) hi_res simple_background",
    "original, highres, 2girls, cat ears, school uniform, holding hands, sunset, rooftop",
]


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        *((text, SENTENCE, text) for text in SENTENCES),
        *((text, TAGS, text) for text in TAG_LISTS),
        ("  \n ", EMPTY, ""),
        ("", EMPTY, ""),
        ('{"caption": "A cat sits on a mat."}', REPAIRED, "A cat sits on a mat."),
        (
            '```json\n{"regular_summary": "A dog runs in the park.", "tags": ["dog"]}\n```',
            REPAIRED,
            "A dog runs in the park.",
        ),
        ('[{"description": "A hat on a table."}]', REPAIRED, "A hat on a table."),
        ('{"caption": "A cat sits on a', BROKEN, None),
        ('{"character": {"name": "x"}}', BROKEN, None),
        ('{"caption": "1girl, solo, smile, blue hair"}', TAGS, "1girl, solo, smile, blue hair"),
        ("{", BROKEN, None),
        ("A  hill\n\n in the\tmist.", SENTENCE, "A hill in the mist."),
    ],
)
def test_what_a_caption_really_is(text, kind, said):
    (row,) = usable(pl.DataFrame({"post": [1], "text": [text]})).to_dicts()
    assert row["kind"] == kind
    assert said is None or row["text"] == said


def test_captions_of_openmoji_s_kind_are_told_apart():
    """Every tag list made of these tags is found, and no sentence made of the same words is taken for one."""
    tags = ["grinning_face", "cheerful", "smile", "teeth", "country-flag", "red", "heart", "animal", "woman", "hand"]
    listed = [", ".join(tags[n:] + tags[:n]).replace("_", " ") for n in range(len(tags))]
    told = [f"A {one.replace('_', ' ')} is shown on a white background." for one in tags]
    kinds = usable(pl.DataFrame({"post": range(20), "text": listed + told})).sort("post")["kind"].to_list()
    assert kinds == [TAGS] * 10 + [SENTENCE] * 10


SETS = {
    "before": CaptionSet(order=("text", "count", "|||", "general")),
    "after": CaptionSet(order=("count", "|||", "general", "text")),
    "alone": CaptionSet(order=("|||", "text"), fallback=("count", "artist")),
}


def test_sentences_stand_where_the_order_says_and_tags_fill_in(captioned):
    posts = [
        post(1, caption="A girl smiles at the sea."),
        post(2, caption="1girl, blue hair, cat ears, smile"),
        post(3, caption='{"caption": "A girl'),
        post(4),
    ]
    folder, summary = captioned(posts, sets=SETS, drop_caption=0.0)
    read = reader(folder, 0)
    tags = "blue hair, cat ears, smile, ^_^"
    assert read.plain(1, "before") == f"A girl smiles at the sea., 1girl, {tags}"
    assert read.plain(1, "after") == f"1girl, {tags}, A girl smiles at the sea."
    assert read.plain(1, "alone") == read.caption(1, epoch=3, set="alone") == "A girl smiles at the sea."
    for number in (2, 3, 4):
        assert read.plain(number, "before") == f"1girl, {tags}"
        assert read.plain(number, "alone") == "1girl, some one"
    assert summary["texts"] == {"text": {SENTENCE: 1, TAGS: 1, BROKEN: 1}}
    refused = read_json(folder / "captions.json")["texts"]["text"]["refused"]
    assert [(row["post"], row["kind"]) for row in refused] == [(2, TAGS), (3, BROKEN)]
    record = pl.read_parquet(folder / "captions.parquet").filter(post=1, set="after")["groups"].to_list()[0]
    assert record[-1] == {"name": "text", "words": ["A girl smiles at the sea."]}


def test_long_sentences_are_cut_where_one_ends(captioned):
    told = "A girl smiles at the sea. Behind her, a lighthouse stands on a hill! Is it evening? The sky is red."
    order = ("text", "|||", "artist")
    sets = {f"at {room}": CaptionSet(order=order, text_budget=room) for room in (5, 7, 20, 25, 99)}
    folder, _ = captioned([post(1, caption=told)], sets=sets)
    read = reader(folder, 0)
    for name, one in sets.items():
        said = read.plain(1, name).removesuffix("some one").removesuffix(", ")
        assert told.startswith(said)
        assert len(tokenize(said)) <= one.text_budget
        rest = told[len(said) :].strip()
        following = rest.partition(rest[re.search(r"[.!?]", rest).start()])[0] + "." if rest else ""
        assert not rest or len(tokenize(f"{said} {following}")) > one.text_budget
    assert read.plain(1, "at 5") == "some one"
    assert read.plain(1, "at 99") == f"{told}, some one"


@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv"])
@pytest.mark.parametrize("key", ["id", "md5"])
def test_sentences_of_a_file_are_joined_by_id_or_hash(captioned, tmp_path, form, key):
    posts = [post(number, md5=f"{number:032x}") for number in (5, 3, 9)]
    rows = pl.DataFrame(
        {
            "id": [9, 77, 3],
            "md5": [f"{number:032x}" for number in (9, 77, 3)],
            "long": [
                "A ninth thing is here.",
                "Not in the manifest is this.",
                "A third thing, with “quotes”, is here.",
            ],
            "short": ["The ninth is here", "x", "The third is here"],
        }
    )
    path = tmp_path / f"texts.{form}"
    {"parquet": rows.write_parquet, "jsonl": rows.write_ndjson, "csv": rows.write_csv}[form](path)
    sets = {"both": CaptionSet(order=("brief", "|||", "text"))}
    columns = {"text": "long", "brief": "short"}
    folder, _ = captioned(posts, sets=sets, texts=str(path), text_key=key, text_columns=columns)
    read = reader(folder, 0)
    assert read.plain(3, "both") == "The third is here, A third thing, with “quotes”, is here."
    assert read.plain(9, "both") == "The ninth is here, A ninth thing is here."
    assert read.plain(5, "both") == ""


def test_a_file_of_sentences_that_cannot_be_is_refused(captioned, tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text(json.dumps({"id": 1, "captoin": "A thing is here."}) + "\n")
    sets = {"all": CaptionSet(order=("text", "|||", "general"))}
    with pytest.raises(Refused, match="'caption'; did you mean 'captoin'"):
        captioned([post(1)], sets=sets, texts=str(path))
    with pytest.raises(Refused, match=r"expected a file that ends in \.parquet"):
        captioned([post(1)], sets=sets, texts=str(tmp_path / "texts.xlsx"))
    with pytest.raises(Refused, match="text_key 'ids'; did you mean 'id'"):
        captioned([post(1)], sets=sets, texts=str(path), text_key="ids")
    with pytest.raises(Refused, match="no order says the group 'text'"):
        CaptionsConfig(posts="p", texts=str(path))
