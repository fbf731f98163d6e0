"""The attention grammar, against what A1111 1.10.1 makes of the same prompts."""

import pytest

from enogu.core.records.errors import Refused
from enogu.sample.attention import BREAK, attention

VECTORS = {
    "": [("", 1)],
    "(x:1.05)": [("x", 1.05)],
    "[x]": [("x", 0.90909)],
    "[[a]]": [("a", 0.826446)],
    "((x))": [("x", 1.21)],
    "(x:.5)": [("x", 0.5)],
    "(x: +1.3 )": [("x", 1.3)],
    "(x:-1)": [("x", -1)],
    "((a:1.2) b:0.5)": [("a", 0.6), (" b", 0.5)],
    "(a:b:1.2)": [("a:b", 1.2)],
    "x:1.2": [("x:1.2", 1)],
    "(x:1.2": [("x:1.2", 1.1)],
    r"a\(b\)": [("a(b)", 1)],
    "fate_(series)": [("fate_", 1), ("series", 1.1)],
    "(x:1,2)": [("x:1,2", 1.1)],
    "(a:1.1)(b:1.1)": [("ab", 1.1)],
    r"a\b": [("ab", 1)],
    "(aesthetic:0), (ushanka:0.98), [[braid]]": [
        ("aesthetic", 0),
        (", ", 1),
        ("ushanka", 0.98),
        (", ", 1),
        ("braid", 0.826446),
    ],
}


@pytest.mark.parametrize(("prompt", "expected"), VECTORS.items())
def test_prompts_weigh_as_in_a1111(prompt: str, expected: list[tuple[str, float]]) -> None:
    found = attention(prompt)
    assert [text for text, _ in found] == [text for text, _ in expected]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in expected], rel=1e-5)


def test_break_splits_and_keeps_its_neighbours_apart() -> None:
    assert attention("a BREAK b") == [("a", 1), BREAK, ("b", 1)]
    assert attention("BREAKFAST") == [("BREAKFAST", 1)]
    assert attention("(x:-1) BREAK (y:-1)")[2] == BREAK


def test_break_inside_a_weight_stays_a_break() -> None:
    assert attention("(a BREAK b:1.2)") == [("a", 1.2), BREAK, ("b", 1.2)]


def test_a_weight_that_is_no_number_is_named() -> None:
    with pytest.raises(Refused, match=r"'1\.2\.3'"):
        attention("(x:1.2.3)")
