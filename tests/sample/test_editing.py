"""Prompt editing and AND, against what A1111 1.10.1 makes of the same prompts in ten calls."""

import pytest

from enogu.sample.editing import variants
from enogu.sample.prompt import negative, positive, words

VECTORS = {
    "[a:b:0.5]": [(5, "a"), (10, "b")],
    "[a:b:5]": [(5, "a"), (10, "b")],
    "a [b:c:1] d": [(1, "a b d"), (10, "a c d")],
    "a [b:c:1.0] d": [(10, "a b d")],
    "[b:0.5]": [(5, ""), (10, "b")],
    "[a::0.5]": [(5, "a"), (10, "")],
    "a [b:c:0] d": [(10, "a c d")],
    "[a:b:-1]": [(10, "b")],
    "[a:b:-0.5]": [(10, "b")],
    "[a:b:15]": [(10, "a")],
    "[a:b:5.]": [(10, "a")],
    "[a:b:1e-1]": [(10, "b")],
    "[x:1.05]": [(10, "")],
    "(x:1.05)": [(10, "(x:1.05)")],
    "[x]": [(10, "[x]")],
    "(a:b:0.5)": [(10, "(a:b:0.5)")],
    "([a:b:0.5]:1.2)": [(5, "(a:1.2)"), (10, "(b:1.2)")],
    "[a:[b|c]:3]": [(1, "a"), (2, "a"), (3, "a"), *((n, "bc"[(n - 1) % 2]) for n in range(4, 11))],
    "[[a|b]:0.5]": [*((n, "") for n in range(1, 6)), *((n, "ab"[(n - 1) % 2]) for n in range(6, 11))],
    "[a|b:0.5]": [(10, "[a|b:0.5]")],
    "[a:b|c:0.5]": [(10, "[a:b|c:0.5]")],
    "[a:b:c:0.5]": [(10, "[a:b:c:0.5]")],
    "[a:b:.5": [(10, "[a:b:.5")],
    r"\[a:b:0.5\]": [(10, r"\[a:b:0.5\]")],
    "": [(10, "")],
    "red (hair [": [(10, "red (hair [")],
    "x( [a:b:2]": [(2, "x( a"), (10, "x( b")],
    "[a:b:2] c|d": [(10, "[a:b:2] c|d")],
    "[a:b:2]\\": [(10, "[a:b:2]\\")],
}


@pytest.mark.parametrize(("prompt", "expected"), VECTORS.items())
def test_prompts_unfold_as_in_a1111(prompt: str, expected: list[tuple[int, str]]) -> None:
    assert variants(prompt, 10) == expected


def test_empty_options_take_their_turn() -> None:
    assert [text for _, text in variants("[fe||]male", 4)] == ["female", "male", "male", "female"]


def test_and_splits_before_brackets_and_weighs() -> None:
    def spelled(prompt: str) -> list[tuple[str, float]]:
        return [(part.variants[0].text, part.weight) for part in positive(prompt, 10)]

    assert spelled("a AND b:1.1") == [("a", 1), (" b", 1.1)]
    assert spelled("(a AND b:1.1)") == [("(a", 1), (" b:1.1)", 1)]
    assert spelled("a AND b : -0.5") == [("a", 1), (" b", -0.5)]
    assert spelled("SAND ANDY") == [("SAND ANDY", 1)]
    # One part is weighed as well: A1111 swallows a number at the end of any prompt.
    assert spelled("score: 9") == [("score", 9)]
    assert spelled("time 12:30") == [("time 12", 30)]
    assert spelled("rating:safe") == [("rating:safe", 1)]


def test_and_means_nothing_in_a_negative_prompt() -> None:
    assert negative("a AND b: 2", 10).variants == [(10, "a AND b: 2")]


def test_words_are_the_tags_asked_for() -> None:
    prompt = r"1girl, (red hair:1.2), hat \(blue\), (bad hands:0), [frown:smile:0.5], a BREAK b AND 1girl, c AND fog:-1"
    assert words(prompt) == ("1girl", "red_hair", "hat_(blue)", "smile", "a", "b", "c")
