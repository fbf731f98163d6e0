"""The query's text and tree: golden readings, errors in their place, round trips, and a slow and obvious evaluation."""

import fnmatch
import math
import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from enogu.core.records.errors import Refused
from enogu.core.records.posts import CATEGORIES
from enogu.posts.query import And, Between, Known, Like, Not, OneOf, Or, Tag, show
from enogu.posts.query_columns import columns
from enogu.posts.query_masks import Relations, holds, strangers
from enogu.posts.query_syntax import parse
from enogu.posts.tag_indexing import indexed

COLUMNS = columns()
A, B, C = Tag("a"), Tag("b"), Tag("c")


def micros(*date):
    return (datetime(*date, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", And(())),
        ("a b or c", Or((And((A, B)), C))),
        ("a (b or c)", And((A, Or((B, C))))),
        ("a AND -b", And((A, Not(B)))),
        ("not (a or b)", Not(Or((A, B)))),
        ("a ~b ~c", And((A, Or((B, C))))),
        ("(a b) c", And((A, B, C))),
        ("*_hair", Like("*_hair")),
        ('"*_*" "or" "-_-"', And((Tag("*_*"), Tag("or"), Tag("-_-")))),
        ("hatsune_miku_(append)", Tag("hatsune_miku_(append)")),
        ("(a or miku_(append))", Or((A, Tag("miku_(append)")))),
        (":)", Tag(":)")),
        (">:( ;) :d re:zero", And((Tag(">:("), Tag(";)"), Tag(":d"), Tag("re:zero")))),
        ("score:>=10", Between(COLUMNS["score"], low=10)),
        ("score:<10", Between(COLUMNS["score"], high=10, below=True)),
        ("score:-5..10", Between(COLUMNS["score"], low=-5, high=10)),
        ("score:..10", Between(COLUMNS["score"], high=10)),
        ("score:1,2", Or((Between(COLUMNS["score"], 1, 1), Between(COLUMNS["score"], 2, 2)))),
        ("fav_count:5", Between(COLUMNS["favcount"], 5, 5)),
        ("rating:g,q", OneOf(COLUMNS["rating"], ("general", "questionable"))),
        ("ratio:16:9", Between(COLUMNS["ratio"], 1.78, 1.78)),
        ("filesize:200kb..", Between(COLUMNS["filesize"], low=204_800)),
        ("date:2018..2022", Between(COLUMNS["date"], micros(2018, 1, 1), micros(2023, 1, 1) - 1)),
        ("date:<2020-02", Between(COLUMNS["date"], high=micros(2020, 2, 1), below=True)),
        ("date:>2020-02-03", Between(COLUMNS["date"], low=micros(2020, 2, 4) - 1, above=True)),
        ("parent:none url:any", And((Not(Known(COLUMNS["parent"])), Known(COLUMNS["url"])))),
        ('url:"a b",*pixiv*', OneOf(COLUMNS["url"], ("a b", "*pixiv*"))),
        ("deleted:true", Between(COLUMNS["deleted"], 1, 1)),
    ],
)
def test_what_a_text_means(text, tree):
    assert parse(text) == tree
    assert parse(show(tree)) == tree


@pytest.mark.parametrize(
    ("text", "message", "caret"),
    [
        ("a (b or c", "never closed", 2),
        ("a ) b", "closes nothing", 2),
        ("a or", "missing", 4),
        ("or a", "missing", 0),
        ("a and", "between two", 5),
        ("a -", "missing", 3),
        ('a "b', "quote is never closed", 2),
        ("a scroe:>10", "did you mean 'score:'", 2),
        ("a score:ten", "whole number", 8),
        ("score:10..1", "lower end", 6),
        ("rating:s", "general or sensitive", 7),
        ("rating:genral", "did you mean 'general'", 7),
        ("date:2018-13", "month", 5),
        ("ratio:16:0", "16:9", 6),
        ("order:score", "sample", 0),
        ("width:", "needs a value", 6),
    ],
)
def test_an_error_points_at_its_place(text, message, caret):
    with pytest.raises(Refused, match=message) as caught:
        parse(text)
    shown, arrow = str(caught.value).splitlines()[-2:]
    assert (shown, arrow) == (f"  {text}", "  " + " " * caret + "^")


NAMES = [
    "a",
    "1girl",
    "cat_ears",
    ":)",
    "-_-",
    "x_(y)",
    "or",
    "*",
    'q"uote',
    "re:zero",
    "score:>5",
    "(o)_(o)",
    "\\",
    "ö",
]


def grown(rng, depth):
    """A random tree in the form that the parser gives: nothing empty, no kind directly in itself."""
    kind = rng.choice(["tag", "like", "between", "word", "known"] + ["and", "or", "not"] * 2 * (depth > 0))
    if kind == "not":
        return Not(grown(rng, depth - 1))
    if kind in ("and", "or"):
        made = And if kind == "and" else Or
        parts = [grown(rng, depth - 1) for _ in range(rng.randint(2, 3))]
        return made(tuple(inner for part in parts for inner in (part.parts if isinstance(part, made) else (part,))))
    if kind == "tag":
        return Tag(rng.choice(NAMES))
    if kind == "like":
        return Like(rng.choice(["*_ears", "a*", "*", "1*l", "*(*"]))
    if kind == "word":
        return OneOf(
            COLUMNS["filetype"], tuple(rng.sample(["png", "jp*", "we bp", "a,b", "none", ")"], rng.randint(1, 2)))
        )
    if kind == "known":
        return Known(COLUMNS[rng.choice(["score", "md5", "date"])])
    return _between(rng, COLUMNS[rng.choice(["score", "ratio", "mpixels", "date", "width", "favcount"])])


def _between(rng, column):
    if column.kind == "date":
        start = micros(rng.randint(2005, 2024), rng.randint(1, 12), rng.choice([1, 1, 28]))
        low, high = start, start + rng.randint(1, 9) * 86_400_000_000 - 1
        one_sided = [{"low": low}, {"low": high, "above": True}, {"high": high}, {"high": low, "below": True}]
    else:
        low = rng.randint(-5, 300) if column.kind == "whole" else rng.randint(0, 400) / 100
        high = round(low + rng.choice([0, 1, 50]), 2)
        one_sided = [{"low": low}, {"low": low, "above": True}, {"high": high}, {"high": high, "below": True}]
    return Between(column, **rng.choice([*one_sided, {"low": low, "high": high}]))


@pytest.mark.parametrize("seed", range(10))
def test_what_is_shown_is_read_again(seed):
    rng = random.Random(seed)
    for _ in range(50):
        tree = grown(rng, 4)
        assert parse(show(tree)) == tree, show(tree)


def test_no_text_ends_otherwise_than_in_a_tree_or_a_refusal():
    rng = random.Random(0)
    pieces = [
        "a",
        " ",
        "(",
        ")",
        "-",
        "~",
        "or",
        "and",
        "not",
        '"',
        "score:",
        ">",
        "=",
        "1",
        "..",
        ",",
        "*",
        "date:",
        "\\",
        "ratio:",
    ]
    for _ in range(5_000):
        text = "".join(rng.choices(pieces, k=rng.randint(0, 12)))
        try:
            tree = parse(text)
        except Refused:
            continue
        assert parse(show(tree)) == tree, text


def table(count, seed):
    """Random posts with gaps, two of the same tag in one post, and a tag of several categories."""
    rng = random.Random(seed)

    def some(value):
        return value if rng.random() > 0.15 else None

    moment = datetime(2010, 1, 1, tzinfo=UTC)
    rows = [
        {
            "id": number,
            "source": some(rng.choice(["danbooru", "e621"])),
            "score": some(rng.randint(-5, 305)),
            "fav_count": some(rng.randint(0, 300)),
            "width": some(rng.randint(0, 300)),
            "height": some(rng.randint(0, 3)),
            "file_ext": some(rng.choice(["png", "jpg", "we bp", "a,b", "none"])),
            "rating": rng.choice(["general", "explicit"]),
            "md5": some("f" * 32),
            "created_at": some(moment + timedelta(days=rng.randint(-2000, 5500), seconds=rng.randint(0, 86_399))),
            "image": some("x.png"),
            "is_deleted": some(rng.random() < 0.5),
            **{f"tags_{kind}": rng.choices(NAMES, k=rng.randint(0, 2)) for kind in CATEGORIES},
        }
        for number in range(count)
    ]
    lists = {f"tags_{kind}": pl.List(pl.String) for kind in CATEGORIES}
    return pl.DataFrame(
        rows, infer_schema_length=None, schema_overrides={**lists, "created_at": pl.Datetime("us", "UTC")}
    )


def true(tree, row):
    """What a reader of the documentation would answer, post by post."""
    tags = {tag for kind in CATEGORIES for tag in row[f"tags_{kind}"]}
    match tree:
        case And(parts):
            return all(true(part, row) for part in parts)
        case Or(parts):
            return any(true(part, row) for part in parts)
        case Not(part):
            return not true(part, row)
        case Tag(name):
            return name in tags
        case Like(pattern):
            return any(fnmatch.fnmatchcase(tag, pattern.replace("[", "[[]")) for tag in tags)
        case Known(column):
            return row[column.of] is not None
        case OneOf(column, words):
            value = row[column.of]
            return value is not None and any(fnmatch.fnmatchcase(value, word) for word in words)
        case Between(column):
            value = amount(column.name, row)
            low = value is not None and (value > tree.low if tree.above else value >= tree.low)
            return low and (value < tree.high if tree.below else value <= tree.high)


def amount(name, row):
    width, height = row["width"], row["height"]
    if name in ("ratio", "mpixels"):
        if width is None or not height:
            return None
        return round(width / height, 2) if name == "ratio" else width * height / 1e6
    value = row[COLUMNS[name].of]
    return micros_of(value) if name == "date" and value is not None else value


def micros_of(moment):
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def test_random_queries_keep_what_a_slow_evaluation_keeps(tmp_path):
    frame = table(400, seed=1)
    frame.write_parquet(tmp_path / "posts.parquet")
    index, rng, rows, kept = indexed(tmp_path / "posts.parquet"), random.Random(2), frame.to_dicts(), 0
    for _ in range(60):
        tree = grown(rng, 3)
        expected = [true(tree, row) for row in rows]
        assert holds(tree, index, Relations()).tolist() == expected, show(tree)
        kept += 0 < sum(expected) < len(rows)
    assert kept > 30


def test_an_alias_finds_its_tag_and_the_implied_what_implies_it(tmp_path):
    tags = [["cat_ears"], ["nekomimi"], ["cat_ear_headphones"], ["fox_ears"], ["dog"], ["kitsunemimi"]]
    empty = {f"tags_{kind}": [[]] * 6 for kind in CATEGORIES}
    schema = {f"tags_{kind}": pl.List(pl.String) for kind in CATEGORIES}
    data = {**empty, "tags_general": tags, "id": range(6), "image": ["x"] * 6}
    pl.DataFrame(data, schema_overrides=schema).write_parquet(tmp_path / "posts.parquet")
    index = indexed(tmp_path / "posts.parquet")
    relations = Relations(
        (("nekomimi", "cat_ears"), ("neko_mimi", "nekomimi"), ("kitsunemimi", "fox_ears")),
        (("cat_ear_headphones", "nekomimi"), ("cat_ears", "animal_ears"), ("fox_ears", "animal_ears")),
    )

    def found(text):
        return holds(parse(text), index, relations).nonzero()[0].tolist()

    assert found("neko_mimi") == found("cat_ears") == found("nekomimi") == [0, 1, 2]
    assert found("animal_ears") == [0, 1, 2, 3, 5]  # no post says so itself
    assert found("-animal_ears") == [4]
    assert found("cat_ear_headphones") == [2]
    assert found("neko_m*") == [0, 1, 2]
    assert found("animal_*") == [0, 1, 2, 3, 5]
    asked = parse("animal_ears dgo -birds or zzz*")
    assert [(show(one), near) for one, near in strangers(asked, index, relations)] == [
        ("dgo", "dog"),
        ("birds", ""),
        ("zzz*", ""),
    ]


def test_infinity_is_no_end():
    assert math.isinf(parse("score:>1").high)
