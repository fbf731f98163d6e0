"""Who is drawn: seeded per index, novel concepts only where asked for, nothing unkind in any tag."""

from collections import Counter

from enogu.mini.population import sample_traits
from enogu.mini.traits import characters, general_tags, novel_tags, tables

BLOCKLIST = {
    "blood", "bikini", "bra", "gore", "guro", "lingerie", "naked", "nipples", "nude", "panties", "sex", "swimsuit",
    "topless", "undressing", "weapon",
}  # fmt: skip


def test_a_picture_depends_on_seed_and_index_alone() -> None:
    late_first = [sample_traits(1, index) for index in (9, 3, 0)]
    assert late_first == [sample_traits(1, index) for index in (9, 3, 0)]
    assert sample_traits(1, 3) != sample_traits(2, 3)


def test_the_base_population_knows_nothing_novel() -> None:
    drawn = [sample_traits(4, index) for index in range(1500)]
    seen = {tag for traits in drawn for tag in (*general_tags(traits), traits.artist)}
    assert len(novel_tags()) == 3
    assert not seen & novel_tags()
    wanted = {tag for kind in tables() if kind != "rating" for tag in tables()[kind]}
    assert seen >= wanted - novel_tags() - {"no_headwear"}


def test_the_new_population_shows_each_novel_concept_in_about_a_third() -> None:
    drawn = [sample_traits(4, index, novel=0.33) for index in range(1500)]
    counts = Counter(tag for traits in drawn for tag in {*general_tags(traits), traits.artist})
    assert all(0.25 < counts[tag] / 1500 < 0.42 for tag in novel_tags())


def test_recurring_characters_recur_and_are_not_novel() -> None:
    drawn = [sample_traits(4, index) for index in range(3000)]
    assert {figure.name for traits in drawn for figure in traits.figures} == {"", *characters()}
    assert not {known.headwear for known in characters().values()} & novel_tags()


def test_every_word_is_harmless() -> None:
    names = [tag for rows in tables().values() for tag in rows] + list(characters())
    assert not {word for name in names for word in name.split("_")} & BLOCKLIST


def test_counts_match_figures() -> None:
    for index in range(300):
        traits = sample_traits(8, index)
        assert len(traits.figures) == (2 if traits.count == "2girls" else 1)
        assert {figure.boy for figure in traits.figures} == {traits.count == "1boy"}
