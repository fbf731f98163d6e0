"""Quality, aesthetic, rating and year words, against the tables of the cards that they come from."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from enogu.captions.percentile import Peers, percentile
from enogu.captions.words import add_word, check_ratings, check_span, rating_table, table
from enogu.core.records.errors import Refused
from enogu.core.records.posts import RATINGS

SHIPPED = {
    "quality": (
        *("kohaku", "hakubooru", "kohaku-2023", "hakubooru-2023", "animagine-3.0", "animagine-3.1"),
        *("illustrious", "noobai", "windowed", "animeboysxl", "animeboysxl-3"),
    ),
    "aesthetic": ("animeboysxl", "animagine-3.1", "sote", "noobai"),
    "year": ("fifths", "hakubooru", "animagine-3.1", "noobai", "illustrious", "sote"),
}


def said(kind, name, **columns):
    posts = pl.DataFrame(columns).with_row_index("id").lazy()
    return add_word(posts, table(kind, name), "word").sort("id").collect()["word"].to_list()


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (10_000, "best quality"),
        (150, "best quality"),
        (149, "amazing quality"),
        (100, "amazing quality"),
        (99, "great quality"),
        (75, "great quality"),
        (74, "normal quality"),
        (0, "normal quality"),
        (-1, "bad quality"),
        (-4, "bad quality"),
        (-5, "worst quality"),
        (-999, "worst quality"),
        (None, None),
    ],
)
def test_animeboysxl_quality_words_have_its_exact_edges(score, expected):
    assert said("quality", "animeboysxl", score=pl.Series([score], dtype=pl.Int64)) == [expected]


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (6.675, "best aesthetic"),
        (6.674, "great aesthetic"),
        (6.0, "great aesthetic"),
        (5.999, "normal aesthetic"),
        (5.0, "normal aesthetic"),
        (4.999, "bad aesthetic"),
    ],
)
def test_animeboysxl_aesthetic_words_have_its_exact_edges(score, expected):
    assert said("aesthetic", "animeboysxl", aesthetic=[score]) == [expected]


def test_kohaku_quality_words_fall_by_percentile_within_each_rating():
    rng = np.random.default_rng(0)
    general, explicit = rng.permutation(1000), rng.permutation(2000) + 100_000  # no ties; explicit ones are liked more
    ratings = ["general"] * 1000 + ["explicit"] * 2000
    words = said("quality", "kohaku", fav_count=[*general, *explicit], rating=ratings)
    shares = {
        "masterpiece": 5,
        "best quality": 10,
        "great quality": 10,
        "good quality": 25,
        "normal quality": 25,
        "low quality": 15,
        "worst quality": 10,
    }
    assert Counter(words[:1000]) == {name: share * 10 for name, share in shares.items()}
    assert Counter(words[1000:]) == {name: share * 20 for name, share in shares.items()}
    assert words[int(general.argmax())] == "masterpiece"
    assert words[int(general.argmin())] == "worst quality"


def test_a_percentile_is_the_share_below_with_ties_counted_half():
    rng = np.random.default_rng(1)
    values = [None if rng.random() < 0.1 else int(value) for value in rng.integers(0, 12, 300)]
    group = rng.integers(0, 3, 300).tolist()
    frame = pl.DataFrame({"value": values, "group": group})
    told = percentile(frame.with_row_index("id").lazy(), Peers(percentile_within=("group",)))
    found = told.sort("id").collect()["value"].to_list()
    for value, name, share in zip(values, group, found, strict=True):
        peers = [other for other, its in zip(values, group, strict=True) if its == name and other is not None]
        if value is None:
            assert share is None
        else:
            below = sum(other < value for other in peers) + sum(other == value for other in peers) / 2
            assert share == pytest.approx(100 * below / len(peers))


def test_posts_that_all_have_one_score_are_ordinary():
    assert set(said("quality", "kohaku", fav_count=[0] * 50, rating=["general"] * 50)) == {"normal quality"}


@pytest.mark.parametrize(
    ("year", "expected"),
    [
        (2005, "old"),
        (2010, "old"),
        (2011, "early"),
        (2014, "early"),
        (2015, "mid"),
        (2017, "mid"),
        (2018, "recent"),
        (2020, "recent"),
        (2021, "newest"),
        (2024, "newest"),
    ],
)
def test_hakubooru_year_words(year, expected):
    assert said("year", "hakubooru", created_at=[datetime(year, 12, 31, tzinfo=UTC)]) == [expected]


def test_years_that_a_table_was_not_made_for_are_refused():
    posts = pl.LazyFrame({"created_at": [datetime(year, 1, 1, tzinfo=UTC) for year in (2012, 2025, 2026)]})
    with pytest.raises(Refused, match=r"knows 2005 to 2024, but 2 posts are from 2025 to 2026.*'fifths'"):
        check_span(posts, table("year", "hakubooru"), "year")


def test_fifths_follow_the_posts_own_dates():
    days = [datetime(1990 + number, 1, 1, tzinfo=UTC) for number in range(50)]
    words = said("year", "fifths", created_at=days)
    assert words == [name for name in ("old", "early", "mid", "recent", "newest") for _ in range(10)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kohaku", [["safe"], ["sensitive"], ["nsfw"], ["explicit", "nsfw"], []]),
        ("animeboysxl", [[], ["slightly nsfw"], ["fairly nsfw"], ["very nsfw"], []]),
    ],
)
def test_rating_words(name, expected):
    words = rating_table(name)
    assert [words[rating] for rating in RATINGS] == expected


def test_a_rating_without_an_entry_is_refused():
    posts = pl.LazyFrame({"rating": ["general", "risky", None]})
    with pytest.raises(Refused, match=r"'kohaku'.* no entry for 'risky'"):
        check_ratings(posts, rating_table("kohaku"), "kohaku")


def test_an_unknown_table_is_refused_with_the_nearest():
    with pytest.raises(Refused, match=r"captions\.quality 'kohako'; did you mean 'kohaku'"):
        table("quality", "kohako")


@pytest.mark.parametrize(
    ("name", "rating", "edges"),
    [
        ("kohaku-2023", "general", (37, 22, 16, 8, 3, 1)),
        ("kohaku-2023", "explicit", (262, 151, 106, 52, 27, 9)),
        ("hakubooru-2023", "sensitive", (56, 30, 19, 13, 8, 2)),
        ("hakubooru-2023", "questionable", (132, 75, 49, 33, 21, 8)),
    ],
)
def test_hakubooru_s_own_percentiles_are_strict_edges(name, rating, edges):
    """Its tables of favourites, at 95, 85, 75, 50, 25 and 10 or at 90, 75, 60, 45, 30 and 10 percent."""
    words = ("masterpiece", "best quality", "great quality", "good quality", "normal quality", "low quality")
    values = [value for edge in edges for value in (edge + 1, edge)]
    expected = [word for pair in zip(words, (*words[1:], "worst quality"), strict=True) for word in pair]
    assert said("quality", name, fav_count=values, rating=[rating] * 12) == expected


def test_posts_too_new_for_their_votes_get_no_word():
    posts = pl.LazyFrame({"id": [7_000_000, 7_000_001], "fav_count": [500, 500], "rating": ["general"] * 2})
    told = add_word(posts, table("quality", "kohaku-2023"), "word").sort("id").collect()
    assert told["word"].to_list() == ["masterpiece", None]
    start = datetime(2020, 1, 1, tzinfo=UTC)
    days = [start + timedelta(days=number) for number in range(0, 400, 10)]
    words = said("quality", "windowed", fav_count=[1] * 40, created_at=days, rating=["general"] * 40, source=["d"] * 40)
    assert words == ["normal quality"] * 37 + [None] * 3  # 30 days before the newest have not settled


def test_a_moving_window_compares_a_post_with_its_time_only():
    """Against counting: peers are within six twelfths of the window before and after the post's own twelfth."""
    rng = np.random.default_rng(2)
    start = datetime(2010, 1, 1, tzinfo=UTC)
    days = rng.integers(0, 2000, 400)
    values = rng.integers(0, 30, 400) + days // 20  # favourites grow with the years
    frame = pl.DataFrame(
        {"id": range(400), "value": values, "created_at": [start + timedelta(days=int(day)) for day in days]}
    )
    told = percentile(frame.lazy(), Peers(percentile_within=(), window_days=365)).sort("id").collect()["value"]
    seconds = np.array([(start + timedelta(days=int(day))).timestamp() for day in days])
    slices = np.floor(seconds / (365 * 86400 / 12)).astype(int)
    for row in range(400):
        peers = values[np.abs(slices - slices[row]) <= 6]
        expected = ((peers < values[row]).sum() + (peers == values[row]).sum() / 2) / len(peers) * 100
        assert told[row] == pytest.approx(expected)


def test_decay_makes_an_old_post_s_votes_count_less():
    days = [datetime(2014, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)]  # one half-life of 3,650 days
    columns = {"created_at": days * 10, "rating": ["general"] * 20, "source": ["d"] * 20}
    words = said("quality", "noobai", fav_count=[100, 60] + [40, 40] * 9, **columns)
    assert words[1] == "masterpiece"
    assert words[0] == "best quality"  # 100 halved is less than 60


def test_a_score_on_another_scale_is_refused():
    posts = pl.LazyFrame({"aesthetic": [0.4, 6.1]})
    with pytest.raises(Refused, match=r"aesthetic = 'animagine-3\.1'.* knows 0 to 1, but 1 posts are from 6"):
        check_span(posts, table("aesthetic", "animagine-3.1"), "aesthetic")


def test_tables_of_one_s_own_stand_beside_ours(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[quality.mine]\nof = "score"\nsteps = [{ word = "top", at_least = 9 }]\n')
    assert table("quality", "mine", str(path)).steps[0].word == "top"
    assert table("quality", "kohaku", str(path)).name == "kohaku"
    for text, message in (
        ("[qualities.x]", "kind of table 'qualities'; did you mean 'quality'"),
        ("[quality.x]\nof = 1\nstep = []", "quality.x cannot be read"),
        ("[quality", "cannot be read"),
    ):
        other = tmp_path / f"{len(text)}.toml"
        other.write_text(text)
        with pytest.raises(Refused, match=message):
            table("quality", "x", str(other))


def test_every_table_that_ships_can_be_read():
    for kind, names in SHIPPED.items():
        for name in names:
            steps = table(kind, name).steps
            assert len({step.word for step in steps}) == len(steps)
