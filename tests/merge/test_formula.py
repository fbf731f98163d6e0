"""Formulas mean what their arithmetic says, and what they cannot mean is refused with the likely intent."""

import random

import pytest

from enogu.core.records.errors import Refused
from enogu.merge.algebra import Model
from enogu.merge.blocks import block_names
from enogu.merge.meaning import Meaning
from enogu.merge.syntax import parse
from tests.merge import pico

MODELS = ("a", "b", "c", "base", "tuned 2", "x1", "x2")
BLOCKS = block_names(pico.tensors(0))
UNET, TEXT, VAE = pico.unet("IN04"), pico.TEXT, pico.VAE


def meaning(formula: str, key: str = UNET) -> dict[str, float]:
    result = Meaning(parse(formula), MODELS, BLOCKS, key).result
    models = [(node, value) for node, value in result.terms if isinstance(node, Model)]
    assert len(models) == len(result.terms)
    return {node.name: pytest.approx(value) for node, value in models}


@pytest.mark.parametrize(
    ("formula", "terms"),
    [
        ("a", {"a": 1}),
        ("0.5*a + 0.5*b", {"a": 0.5, "b": 0.5}),
        ("(a + b) / 2", {"a": 0.5, "b": 0.5}),
        ("a + 1.0*(b - c)", {"a": 1, "b": 1, "c": -1}),
        ("base + 1.0*(a - b) + 0.25*(c - base)", {"base": 0.75, "a": 1, "b": -1, "c": 0.25}),
        ("-a + 2*b", {"a": -1, "b": 2}),
        ("a - -1*(b - c)", {"a": 1, "b": 1, "c": -1}),
        ("2/4*a + (1 - .5)*b", {"a": 0.5, "b": 0.5}),
        ("0.3*a + 0.3*a + 4e-1*b", {"a": 0.6, "b": 0.4}),
        ("a + b - b", {"a": 1}),
        ("d = b - c\nhalf = a + 0.5*d\nhalf + 0.5*d", {"a": 1, "b": 1, "c": -1}),
        ("d = b - c; a + d;", {"a": 1, "b": 1, "c": -1}),
        ("d = b - c # what b learnt\n(a + d)", {"a": 1, "b": 1, "c": -1}),
        ("d = (b\n  - c)\ne = a + d", {"a": 1, "b": 1, "c": -1}),
        ("0.5*'tuned 2' + 0.5*a", {"tuned 2": 0.5, "a": 0.5}),
        ("mean(a, b)", {"a": 0.5, "b": 0.5}),
        ("mean([a, b], c, x1)", {"a": 0.25, "b": 0.25, "c": 0.25, "x1": 0.25}),
        ("mean('x?')", {"x1": 0.5, "x2": 0.5}),
        ("a + mean(b - a, c - a)", {"b": 0.5, "c": 0.5}),
        ("weighted_sum(a, b, 0.25)", {"a": 0.75, "b": 0.25}),
        ("weighted_sum(a, b, alpha=1/4)", {"a": 0.75, "b": 0.25}),
        ("add_difference(a, b, c, 0.5)", {"a": 1, "b": 0.5, "c": -0.5}),
        ("amplify(1.1*a)", {"a": 1.1}),
        ("amplify(a, 1.1)", {"a": 1.1}),
        ("0.5*amplify(a, 1.1) + 0.5*b", {"a": 0.55, "b": 0.5}),
    ],
)
def test_arithmetic(formula: str, terms: dict[str, float]) -> None:
    assert meaning(formula) == terms


def test_components_are_chosen_key_by_key() -> None:
    formula = "a.unet + b.te + c.vae"
    assert meaning(formula) == {"a": 1}
    assert meaning(formula, TEXT) == {"b": 1}
    assert meaning(formula, VAE) == {"c": 1}
    assert meaning("base + 0.5*(a - base).unet") == {"base": 0.5, "a": 0.5}
    assert meaning("base + 0.5*(a - base).unet", TEXT) == {"base": 1}
    assert meaning("0.5*a.unet + 0.5*b.unet", TEXT) == {}
    assert meaning("mean(a.unet, b.unet)", TEXT) == {}


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        ("a + b", r"sum to 2, not to 1; .*divide by 2.*a \+ \(b - ancestor\).*amplify"),
        ("0.33*a + 0.33*b + 0.33*c", "sum to 0.99"),
        ("a - b", "is a difference of models.*add it to one"),
        ("'tuned 2' - b", r'BASE \+ \("tuned 2" - b\)'),
        ("mean(a - b, c - b)", "is a difference of models"),
        ("mean(a, b - c)", "not both at once"),
        ("add_difference(a - b, b, c)", r"a takes a weight; a - b has coefficients that sum to 0"),
        ("weighted_sum(a, b, c)", "was given 3 models"),
        ("weighted_sum(a)", "was given 1 models"),
        ("weighted_sum(a, b, 0.5, 0.6)", "2 numbers; its options are: alpha"),
        ("weighted_sum(a, b, alhpa=0.5)", "did you mean 'alpha'"),
        ("weighted_sum(a, b, alpha='x')", r"alpha takes a number \(its default is 0.5\), not 'x'"),
        ("ties([base, a, b])", r"none of its models is the base; write ties\(BASE, \[base, a, b\]\)"),
        ("ties('x*')", r"write ties\(BASE, 'x\*'\)"),
        ("ties(base, a, b, vote=1)", "vote takes a quoted word, not 1.0"),
        ("ties(base, a, b, vote='mas')", "unknown vote 'mas'; did you mean 'mass'"),
        ("ties(base, a, b, keep=20)", "keep is 20; it is a share from 0 to 1"),
        ("base + dare(a - base, drop=-0.1)", "drop is -0.1; it is a share"),
        ("base + dare(a - base, drop=1)", "drop is 1; it must be .* less than 1"),
        ("base + della(a - base, drop=0.1, epsilon=0.5)", "leaves chances outside"),
        ("breadcrumbs(base, a, b, keep=0.9, outliers=0.2)", "sum is at most 1"),
        ("wieghted_sum(a, b)", "did you mean 'weighted_sum'"),
        ("0.5*bsae + 0.5*a", "did you mean 'base'"),
        ("mean('y*')", r"no model matches 'y\*'; known: "),
        ("base + truncate_rank(a - base, rank=2.5)", "rank is 2.5; it is a whole number from 1 on"),
        ("base + truncate_rank(a - base, rank=0)", "rank is 0; it is a whole number"),
        ("mbw(a, b, 0.5, conventoin='webui')", "did you mean 'convention'"),
        ("ties(a, b, 0.2, 'count')", r"unknown model 'count'; .* a word is named: vote=.count."),
        ("a + ties()", r"ties\(deltas...\) was given 0 models"),
        ("a + weighted_sum([], [])", r"weighted_sum\(a, b\) was given 0 models"),
        ("a.unett", "did you mean 'unet'"),
        ("a * b", "cannot compute"),
        ("1 / a", "cannot compute"),
        ("a + 1", "cannot compute"),
        ("a / 0", "cannot compute"),
        ("a * (1/0)", "divide 1 by zero"),
        ("0.5", "expected a model"),
        ("[a, b]", "expected a model"),
        ("d = d + a; d", "unknown model or step 'd'"),
        ("a = b; a", "has the name of a model"),
        ("s = a; s = b; s", "earlier step"),
        ("amplify(a, b)", "factor must be a number"),
        ("mbw(a, b)", "two models and one list"),
        ("mbw(a, b, [1, 2, 3])", "3 block weights; this family takes 26"),
        ("mbw(a, b, 'GRAD_W')", "did you mean 'GRAD_V'"),
        ("mbw(a, b, 'GRAD_V', convention='comfi')", "unknown block convention"),
        ("mbw(a, b, 'GRAD_V', bass=0)", "did you mean 'base'"),
        ("mbw(a, b, [a])", "must be numbers"),
        ("blocks('GRAD_V')", "expected a model"),
        ("mbw(a, b, 'GRAD_V', base=0, base=1)", r"mbw\(\) is given base twice"),
        ("mbw(a, b, 'GRAD_V', base=0, BASE=1)", "base=0 and BASE=1 are one number"),
        ("weighted_sum(a, b, 0.5, alpha=0.7)", r"weighted_sum\(\) is given alpha twice"),
        ("mbw(a, b, 0, 0.1, 0.1)", "the numbers stand in square brackets"),
        ("mbw(a, b, GRAD_V)", 'GRAD_V is a word, and words stand in quotes: "GRAD_V"'),
        ("mbw(a, b, 0.5, fit=resample)", "words stand in quotes"),
        ("base + dare(a - base, rescale=False)", "write 0"),
        ("0.5*tuned + 0.5*a", "did you mean '\"tuned 2\"'"),
        ("0.5*tuned 2 + 0.5*a", "a model's name with spaces, dots or dashes stands in quotes"),
        ("0.5*a.safetensors + 0.5*b", "unknown component 'safetensors'.*without the ending of its file"),
        ("0.5 a + 0.5 b", r"write \* between a number"),
        ("a + 0.3(b - c)", r"write \* between a number"),
        ("mbw(a, b, 0.5, rules=':attn2:nan')", "is a number, not 'nan'"),
        ("2a - b", r"cannot read '2'; write \* between a number"),
        ("0,5*a + 0,5*b", "a decimal point is a point"),
        ("a + (b − c) × 0.5", "cannot read '−'; write -"),
    ],
)
def test_what_cannot_be_meant_is_refused(formula: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        meaning(formula)


@pytest.mark.parametrize(
    ("formula", "at"),
    [
        ("", 0),
        ("a +", 3),
        ("a b", 2),
        ("(a", 2),
        ("a)", 1),
        ("a $ b", 2),
        ("mean(a b)", 7),
        ("a.", 2),
        ("1.2.3", 3),
        ("f(,)", 2),
    ],
)
def test_a_slip_of_the_pen_is_pointed_at(formula: str, at: int) -> None:
    with pytest.raises(Refused) as refusal:
        parse(f"s = b\n{formula}" if formula else formula)
    assert str(refusal.value).splitlines()[-1] == "  " + " " * at + "^"


def test_nothing_that_anyone_types_crashes() -> None:
    rng = random.Random(0)
    words = [
        *"abc+-*/()[],.=;\n '\"#",
        "0.5",
        "1e9",
        "mean(",
        "mbw(",
        "amplify(",
        "blocks('GRAD_V')",
        ".unet",
        "é",
        "１",
    ]
    for _ in range(3000):
        text = "".join(rng.choices(words, k=rng.randint(1, 14)))
        try:
            meaning(text)
        except Refused:
            continue
    for deep in ("(" * 5000 + "a" + ")" * 5000, "-" * 5000 + "a", "a" + "+a-a" * 5000, "[" * 5000):
        try:
            assert meaning(deep) in ({"a": 1.0}, {"a": -1.0})
        except Refused:
            continue


def test_steps_that_double_each_time_cost_nothing() -> None:
    steps = "\n".join(f"s{i + 1} = s{i} + s{i} - s{i}" for i in range(60))
    assert meaning(f"s0 = a\n{steps}\ns60") == {"a": 1}


@pytest.mark.parametrize(
    ("formula", "at"),
    [
        ("0.5*a + 0.5*bb", 12),
        ("a + 0.5*(b.unet - c.nose)", 20),
        ("a + b * c", 8),
        ("mean(a, weighted_sum(a))", 8),
        ("a + mbw(a, b, [1, 2, 3])", 4),
        ("s = a; s + mean", 11),
    ],
)
def test_what_means_nothing_is_pointed_at_in_its_place(formula: str, at: int) -> None:
    with pytest.raises(Refused) as refusal:
        meaning(f"first = a - b\n{formula}")
    line, caret = str(refusal.value).splitlines()[-2:]
    assert (line, caret) == (f"  {formula}", "  " + " " * at + "^")
    assert "line 2" in str(refusal.value)


def test_a_long_line_is_shown_around_the_mistake() -> None:
    formula = " + ".join(["0.01*a"] * 60 + ["0.4*nobody"] + ["0*b"] * 60)
    with pytest.raises(Refused) as refusal:
        meaning(formula)
    line, caret = str(refusal.value).splitlines()[-2:]
    assert line[caret.index("^") :].startswith("nobody")
    assert len(line) < 120


def test_block_numbers_stand_wherever_a_number_may() -> None:
    assert meaning("a + blocks(IN04=0.5, VAE=1)*(b - a)") == {"a": 0.5, "b": 0.5}
    assert meaning("a + blocks(IN04=0.5)*(b - a)", pico.unet("IN05")) == {"a": 1}
    assert meaning("mbw(a, b, VAE=1)", VAE) == {"b": 1}
    assert meaning("mbw(a, b, gradient(0, 1))", pico.unet("OUT11")) == {"b": 1}
    assert meaning("mbw(a, b, gradient(0, 1))", pico.MIDDLE) == {"a": 0.5, "b": 0.5}
    assert meaning("mbw(a, b, 0.2, rules=':in_layers:0.75')") == {"a": 0.25, "b": 0.75}
    assert meaning("w = [0.25]; mbw(a, b, 0.25)") == {"a": 0.75, "b": 0.25}
