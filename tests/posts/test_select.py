"""The query against a slow and obvious one, the gates that are on by default, and the one that is always on."""

import fnmatch

import numpy as np
import polars as pl
import pytest

from enogu.core.records.errors import Refused
from enogu.core.records.posts import CATEGORIES, RATINGS, SCHEMA
from enogu.posts.blocklist import blocked
from enogu.posts.config import Where
from enogu.posts.query_masks import Relations
from enogu.posts.select import draws
from enogu.posts.select import select as select_rows
from enogu.posts.tag_indexing import indexed

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def select(tmp_path):
    """Choose from a frame by way of its index; return the posts and the funnel."""

    def choose(frame, where, *, seed, **more):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}" / "posts.parquet"
        path.parent.mkdir()
        frame.collect().write_parquet(path)
        index = indexed(path)
        selection = select_rows(index, where, seed=seed, **more)
        return index.frame(selection.rows).sort("id"), selection.funnel

    return choose


TAGS = ("1girl", "2girls", "blue_hair", "red_hair", "smile", "cat_ears", "!?", "x_[y]", "hair_bow", "solo")


def posts(count=600, seed=0):
    """Random posts with gaps in every column."""
    rng = np.random.default_rng(seed)

    def some(values):
        return [value if rng.random() > 0.1 else None for value in values]

    years = rng.integers(2005, 2025, count)
    return pl.DataFrame(
        {
            "id": rng.integers(-5, count, count),
            "rating": rng.choice(RATINGS, count),
            "score": some(rng.integers(-20, 200, count).tolist()),
            "created_at": some([f"{year}-03-04T00:00:00+00:00" for year in years]),
            "width": some(rng.integers(1, 3000, count).tolist()),
            "height": rng.integers(1, 3000, count),
            "image": some([f"{number}.png" for number in range(count)]),
            "is_deleted": rng.random(count) < 0.1,
            "is_banned": rng.random(count) < 0.1,
            **{f"tags_{kind}": [_some_tags(rng) for _ in range(count)] for kind in CATEGORIES},
        }
    ).with_columns(
        *(pl.lit(None, dtype=SCHEMA[name]).alias(name) for name in ("fav_count", "aesthetic")),
        created_at=pl.col("created_at").str.to_datetime(time_zone="UTC"),
    )


def _some_tags(rng):
    return rng.choice(TAGS, rng.integers(0, 4)).tolist()


def brute_force(frame, where):
    """The ids that a reader of the documentation would choose by hand."""
    chosen, seen = [], set()
    for row in frame.to_dicts():
        tags = [tag for kind in CATEGORIES for tag in row[f"tags_{kind}"]]

        def has(pattern, tags=tags):
            literal = pattern.replace(" ", "_").replace("[", "[[]").replace("?", "[?]")
            return any(fnmatch.fnmatchcase(tag, literal) for tag in tags)

        fresh = row["id"] not in seen
        seen.add(row["id"])
        score, year = row["score"], row["created_at"] and row["created_at"].year
        fits = [
            fresh and row["id"] >= 0,
            where.deleted or not row["is_deleted"],
            where.banned or not row["is_banned"],
            row["image"] is not None,
            row["rating"] in where.rating,
            where.score_min is None or (score is not None and score >= where.score_min),
            where.score_max is None or (score is not None and score <= where.score_max),
            where.year is None or (year is not None and where.year[0] <= year <= where.year[1]),
            all(has(pattern) for pattern in where.tags_all),
            not where.tags_any or any(has(pattern) for pattern in where.tags_any),
            not any(has(pattern) for pattern in where.tags_none),
            min(row["width"] or 10**9, row["height"]) >= where.min_side,
            (row["width"] or 0) * row["height"] <= where.max_pixels,
        ]
        if all(fits):
            chosen.append(row["id"])
    return sorted(chosen)


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"rating": RATINGS, "deleted": True, "banned": True},
        {"score_min": 10, "score_max": 150},
        {"score_min": 0, "rating": RATINGS},
        {"year": (2010, 2015), "rating": RATINGS},
        {"tags_all": ("1girl", "*_hair"), "rating": RATINGS},
        {"tags_any": ("!?", "x_[y]"), "rating": RATINGS},
        {"tags_none": ("*hair*", "s*o"), "rating": RATINGS},
        {"tags_any": ("cat ears",), "rating": RATINGS},
        {"min_side": 400, "max_pixels": 3_000_000, "rating": RATINGS},
    ],
)
def test_the_query_chooses_what_a_slow_one_chooses(query, select):
    frame, where = posts(), Where(**query)
    chosen, funnel = select(frame.lazy(), where, seed=0)
    assert chosen["id"].to_list() == brute_force(frame, where)
    left = list(funnel.values())
    assert left == sorted(left, reverse=True)
    assert left[-1] == len(chosen) > 0


def test_parts_of_one_seed_share_nothing_and_leave_nothing_out(select):
    frame = posts()
    everyone, _ = select(frame.lazy(), Where(rating=RATINGS), seed=3)
    train, _ = select(frame.lazy(), Where(rating=RATINGS, part=(0.0, 0.8)), seed=3)
    held_out, _ = select(frame.lazy(), Where(rating=RATINGS, part=(0.8, 1.0)), seed=3)
    assert sorted([*train["id"], *held_out["id"]]) == everyone["id"].to_list()
    assert 0.7 < len(train) / len(everyone) < 0.9
    other, _ = select(frame.lazy(), Where(rating=RATINGS, part=(0.0, 0.8)), seed=4)
    assert set(other["id"]) != set(train["id"])


def test_a_sample_depends_on_the_seed_and_the_ids_alone(select):
    frame = posts().unique("id")
    first, funnel = select(frame.lazy(), Where(rating=RATINGS, sample=50), seed=1)
    again, _ = select(frame.sample(fraction=1.0, shuffle=True, seed=9).lazy(), Where(rating=RATINGS, sample=50), seed=1)
    assert first["id"].to_list() == again["id"].to_list()
    assert funnel["sample"] == len(first) == 50
    fewer, _ = select(frame.lazy(), Where(rating=RATINGS, sample=20), seed=1)
    assert set(fewer["id"]) < set(first["id"])


def test_draws_are_even():
    drawn = draws(np.arange(100_000), seed=5)
    counts, _ = np.histogram(drawn, bins=20, range=(0, 1))
    assert ((counts - 5000) ** 2 / 5000).sum() < 43.8  # chi-squared, 19 degrees of freedom, p = 0.001


@pytest.mark.parametrize(
    ("tags", "rating", "out"),
    [
        (["1girl", "loli"], "general", True),
        (["Shota"], "explicit", True),
        (["child"], "general", False),
        (["child"], "sensitive", True),
        (["toddler"], "unknown", True),
        (["lolita_fashion", "childish"], "explicit", False),
    ],
)
@pytest.mark.parametrize("kind", CATEGORIES)
def test_the_blocklist_looks_at_every_category(tags, rating, out, kind):
    row = {f"tags_{each}": [tags if each == kind else []] for each in CATEGORIES}
    frame = pl.DataFrame({"rating": [rating], **row}, schema_overrides=dict.fromkeys(row, pl.List(pl.String)))
    assert blocked(frame).tolist() == [out]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"rating": ("s",)}, "safe or sensitive"),
        ({"rating": ("generally",)}, "did you mean 'general'"),
        ({"score_min": 5, "score_max": 4}, "lower end"),
        ({"year": (2020, 2010)}, "lower end"),
        ({"part": (0.5, 0.5)}, "two shares"),
        ({"sample": 0}, "at least 1"),
        ({"caps": {"artist": 0}}, "at least 1"),
        ({"query": "1girl score:>x"}, r"(?s)whole number.*\n {14}\^"),
    ],
)
def test_a_query_that_can_choose_nothing_is_refused(query, message):
    with pytest.raises(Refused, match=message):
        Where(**query)


def test_no_setting_lets_in_what_is_blocked_withheld_or_opted_out(select):
    """Every gate that can be opened is open, and the query asks for the very posts."""
    tags = [["loli"], ["old_name"], ["implying"], ["young"], ["fine"], ["fine"], ["fine"]]
    frame = pl.DataFrame(
        {
            "id": range(1, 8),
            "source": ["danbooru"] * 7,
            "rating": ["explicit"] * 7,
            "created_at": ["2020-01-01T00:00:00+00:00"] * 7,
            "image": ["a.png"] * 4 + [None, "b.png", "c.png"],
            "is_deleted": [False] * 7,
            "is_banned": [False] * 7,
            **{f"tags_{kind}": tags if kind == "general" else [[]] * 7 for kind in CATEGORIES},
            **dict.fromkeys(("score", "width", "height"), [100] * 7),
        },
        schema_overrides={f"tags_{kind}": pl.List(pl.String) for kind in CATEGORIES},
    ).with_columns(created_at=pl.col("created_at").str.to_datetime(time_zone="UTC"))
    relations = Relations((("old_name", "lolicon"),), (("implying", "middle"), ("middle", "loli")))
    wide = Where(rating=RATINGS, deleted=True, banned=True, min_side=0, query="id:1..7 (loli or old_name or *)")
    chosen, funnel = select(frame.lazy(), wide, seed=0, relations=relations, opted_out={("danbooru", 6), ("e621", 7)})
    assert chosen["id"].to_list() == [7]
    assert list(funnel.values())[:4] == [7, 3, 2, 1]
    everyone, _ = select(frame.lazy(), wide, seed=0, relations=relations, opted_out={("", 6), ("", 7)})
    assert len(everyone) == 0


@pytest.mark.parametrize("field", ["blocklist", "withheld", "opted_out"])
def test_there_is_no_field_that_opens_these_gates(field):
    with pytest.raises(TypeError):
        Where(**{field: True})


def test_caps_keep_the_first_that_the_seed_draws(select):
    rng = np.random.default_rng(1)
    artists = [[f"artist_{number}"] for number in rng.zipf(1.5, 2000) % 20]
    frame = posts(2000).with_columns(
        pl.Series("id", range(2000)), pl.Series("tags_artist", artists), pl.lit("x.png").alias("image")
    )
    where = Where(rating=RATINGS, deleted=True, banned=True, min_side=0, caps={"artist": 50, "smile": 400})
    chosen, funnel = select(frame.lazy(), where, seed=7)
    counts = dict(chosen["tags_artist"].list.first().value_counts().rows())
    alike = frame.filter(pl.concat_list(f"tags_{kind}" for kind in CATEGORIES).list.contains("smile"))
    assert max(counts.values()) == 50 or len(alike) > 400
    assert funnel["caps"] == len(chosen) < 2000
    expected = []
    drawn = dict(zip(range(2000), draws(np.arange(2000), seed=7), strict=True))
    all_of = {tag: [] for tag in {*(name for names in artists for name in names), "smile"}}
    for row in frame.to_dicts():
        own = {tag for kind in CATEGORIES for tag in row[f"tags_{kind}"]} & set(all_of)
        for tag in own:
            all_of[tag].append(row["id"])
    limits = {tag: 400 if tag == "smile" else 50 for tag in all_of}
    out_artist = {
        one for tag, ids in all_of.items() if tag != "smile" for one in sorted(ids, key=drawn.get)[limits[tag] :]
    }
    smiling = [one for one in sorted(all_of["smile"], key=drawn.get) if one not in out_artist]
    expected = sorted(set(range(2000)) - out_artist - set(smiling[400:]))
    assert chosen["id"].to_list() == expected
    again, _ = select(frame.sample(fraction=1.0, shuffle=True, seed=5).lazy(), where, seed=7)
    assert again["id"].to_list() == expected
