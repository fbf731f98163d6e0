"""CLIP's tokens against OpenAI's own implementation, whose answers are kept in clip_tokens.json."""

import importlib.util
import json
from pathlib import Path

import pytest

from enogu.core.networks.tokenizer import tokenize

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE / "clip_tokens.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("text", "ids"), GOLDEN["texts"], ids=lambda value: repr(value)[:30])
def test_tokens_are_those_of_the_reference(text, ids):
    assert tokenize(text) == ids


def test_20_000_glued_texts_agree_with_the_reference():
    spec = importlib.util.spec_from_file_location("clip_texts", HERE / "clip_texts.py")
    texts = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(texts)
    assert texts.digest(map(tokenize, texts.many_texts())) == GOLDEN["digest_of_many"]


def test_tokens_add_up_over_spaces():
    """The token report counts word by word; it may, since no token spans a space."""
    text = "(o)_(o), don't, ^_^, 6+girls, emily jäger, c++, 日本語, '"
    assert [token for word in text.split(" ") for token in tokenize(word)] == tokenize(text)
