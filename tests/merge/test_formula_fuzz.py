"""The grammar in the docs is the parser's, printing is parsing backwards, and the docs' formulas merge."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from enogu.core.networks.stream import save_tensors
from enogu.core.records.errors import Refused
from enogu.merge import stage
from enogu.merge.blocks import block_names
from enogu.merge.config import MergeConfig
from enogu.merge.meaning import Meaning
from enogu.merge.parts import named_models
from enogu.merge.syntax import parse
from enogu.merge.wording import worded
from tests.merge import pico

DOC = (Path(__file__).parents[2] / "docs" / "formula.md").read_text("utf-8")
MODELS = ("a", "b", "c", "x1", "x2")
WORDS = {  # what stands for the terminals of the grammar
    "NUMBER": ("0.5", "1", ".25", "1e-3", "26"),
    "NAME": ("a", "b", "x1", "mean", "mbw", "blocks", "gradient", "ties", "amplify", "base", "tuned@3"),
    "TEXT": ('"x*"', "'GRAD_V'", "'a b'", "':attn2:0.3'"),
    "COMPONENT": ("unet", "te", "vae", "nose"),
}


def grammar() -> dict[str, str]:
    block = DOC.split("## Grammar")[1].split("\n\n")[1]
    return dict(re.findall(r"^ *(\w+) += (.*)$", block, re.MULTILINE))


RULES = grammar()
TOKEN = re.compile(r'"[^"]*"|\w+|[{}\[\]()|]')


def sentence(rng: random.Random, rule: str, depth: int) -> list[str]:
    """Return words that the docs' grammar derives from a rule."""
    tokens = TOKEN.findall(RULES[rule])
    words, end = alternatives(rng, tokens, 0, depth=depth)
    assert end == len(tokens)
    return words


def alternatives(rng: random.Random, tokens: list[str], at: int, *, depth: int) -> tuple[list[str], int]:
    choices: list[list[str]] = []
    while True:
        words: list[str] = []
        while at < len(tokens) and tokens[at] not in ("|", ")", "]", "}"):
            made, at = item(rng, tokens, at, depth=depth)
            words += made
        choices.append(words)
        if at == len(tokens) or tokens[at] != "|":
            return (rng.choice(choices) if depth < 6 else min(choices, key=len)), at
        at += 1


def item(rng: random.Random, tokens: list[str], at: int, *, depth: int) -> tuple[list[str], int]:
    token = tokens[at]
    if token in ("{", "[", "("):
        made, end = alternatives(rng, tokens, at + 1, depth=depth)
        times = 1 if token == "(" else rng.choice((0, 0, 1) if depth < 6 else (0,))
        return made * times, end + 1
    if token.startswith('"'):
        return [token.strip('"')], at + 1
    if token in WORDS:
        return [rng.choice(WORDS[token])], at + 1
    return (sentence(rng, token, depth + 1) if depth < 8 else ["a"]), at + 1


def formulas(count: int) -> Iterator[str]:
    rng = random.Random(20240128)
    for _ in range(count):
        yield " ".join(sentence(rng, "formula", 0))


def test_the_docs_grammar_has_the_rules_it_uses() -> None:
    used = {word for body in RULES.values() for word in re.findall(r"\w+", re.sub(r'"[^"]*"', "", body))}
    assert used - RULES.keys() == WORDS.keys()


def test_whatever_the_grammar_derives_is_read_and_spelt_alike() -> None:
    for text in formulas(400):
        tree = parse(text)
        assert parse(worded(tree)) == tree, text
        assert worded(parse(worded(tree))) == worded(tree)


def test_meaning_refuses_or_gives_a_model_but_never_breaks() -> None:
    blocks, given, unpointed = block_names(pico.tensors(0)), 0, 0
    for text in formulas(400):
        try:
            given += bool(Meaning(parse(text), MODELS, blocks, pico.MIDDLE).result.is_weight)
        except Refused as refusal:
            unpointed += str(refusal).splitlines()[-1].strip() != "^"
    assert unpointed == 0
    assert given >= 3


def examples() -> dict[str, str]:
    head, part = DOC.split("## Grammar")[0], DOC.split("## Worked examples")[1]
    found = dict(re.findall(r"^    ((.*))$", head, re.MULTILINE))
    for title, body in re.findall(r"^### (.*?)\n\n(.*?)(?=^### |\Z)", part, re.MULTILINE | re.DOTALL):
        for number, block in enumerate(re.split(r"\n\n(?=    )", body.rstrip()), 1):
            found[f"{title} {number}"] = re.sub(r"^    ", "", block, flags=re.MULTILINE)
    return found


def test_there_are_ten_examples_and_more() -> None:
    assert len(examples()) >= 10


@pytest.mark.parametrize("title", examples())
def test_the_examples_of_the_docs_merge(title: str, tmp_path: Path) -> None:
    formula = examples()[title]
    known = ("a", "b", "anxl2", "anxl3", "beta7", "base7", "base8", "sdxl", "anime", "basil", "base", "tuned")
    names = named_models(parse(formula), (*known, "x1", "x2", "x3", "noob", "il1", "il2", "rev2", "other"))
    files = {}
    for seed, name in enumerate(names):
        tensors = pico.tensors(seed)
        if "SDXL" in formula:
            beyond = {pico.unet(f"{kind}{i:02d}") for kind in ("IN", "OUT") for i in range(9, 12)}
            tensors = {key: value for key, value in tensors.items() if key not in beyond}
        files[name] = tmp_path / f"{name}.safetensors"
        save_tensors(files[name], tensors, {})
    plan, written = stage.merge(MergeConfig(formula=formula), files, tmp_path / "out.safetensors")
    assert set(plan.sources) == set(names)
    assert written.data_sha256
