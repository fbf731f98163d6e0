"""Prompts that do not do what they look like."""

import pytest

from enogu.sample.lint import lint


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("1girl, [hat:1.05]", "a weight is (hat:1.05)"),
        ("1girl, score: 9", "a weight of 9 on all of it"),
        ("saber (fate), rin_(series)", r"rin_\(series\)"),
    ],
)
def test_traps_are_named(prompt: str, says: str) -> None:
    (line,) = lint(prompt)
    assert says in line


@pytest.mark.parametrize(
    "prompt",
    ["", "1girl, (hat:1.2), [cap], ((smile))", r"rin_\(series\)", "[a:b:0.5]", "[hat:0.5]", "a AND b:2", "score: 9,"],
)
def test_honest_prompts_pass(prompt: str) -> None:
    assert lint(prompt) == []
