"""Chunks of weighted tokens, and what weights do to the text encoder's states."""

import numpy as np
import pytest
import torch

from enogu.core.networks.chunks import chunk_tokens
from enogu.core.networks.tokenizer import BOS, EOS, tokenize
from enogu.core.records.errors import Failed
from enogu.sample.attention import BREAK, Fragment, attention
from enogu.sample.chunking import Chunk, chunks
from enogu.sample.encoding import emphasised

(A,), (B,), (COMMA,) = tokenize("a"), tokenize("b"), tokenize(",")


def spelled(prompt: str) -> list[Chunk]:
    return chunks(attention(prompt))


def lengths(prompt: str) -> list[int]:
    """How many tokens each chunk holds before its padding."""
    return [chunk.ids.index(EOS) - 1 for chunk in spelled(prompt)]


def test_a_short_prompt_is_one_padded_chunk() -> None:
    (chunk,) = spelled("a (b:1.5), a")
    assert chunk.ids == (BOS, A, B, COMMA, A, *[EOS] * 72)
    assert chunk.weights == (1, 1, 1.5, *[1] * 74)


def test_plain_prompts_are_cut_as_training_captions_are() -> None:
    for prompt in ("", "a", " ".join("a" * 75), " ".join("a" * 200)):
        assert np.array_equal([chunk.ids for chunk in spelled(prompt)], chunk_tokens(tokenize(prompt)))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a " * 75, [75]),
        ("a " * 76, [75, 1]),
        ("a " * 70 + ", " + "b " * 10, [71, 10]),  # the last comma is 5 tokens back: what follows moves on
        ("a " * 55 + ", " + "b " * 30, [56, 30]),  # 20 back: just near enough
        ("a " * 54 + ", " + "b " * 30, [75, 10]),  # 21 back: cut in the middle
        ("a " * 74 + ", " + "b", [75, 1]),  # a full chunk that ends in a comma
        ("a " * 75 + ", " + "b", [75, 2]),  # the comma itself comes too late
        ("a " * 73 + ", a , b", [75, 2]),  # a comma as the 76th token moves nothing
        ("a BREAK b", [1, 1]),
        ("BREAK a", [0, 1]),
        ("a BREAK", [1]),
        ("a " * 75 + "BREAK b", [75, 1]),
    ],
)
def test_chunks_end_where_a1111_ends_them(prompt: str, expected: list[int]) -> None:
    assert lengths(prompt) == expected


def test_fragments_are_tokenised_by_themselves() -> None:
    assert chunks([Fragment("re", 1), Fragment("d", 1.1)])[0].ids[1:3] == (*tokenize("re"), *tokenize("d"))
    assert tokenize("red") != tokenize("re") + tokenize("d")


def test_break_alone_closes_a_chunk() -> None:
    assert len(chunks([BREAK])) == 1


def test_original_gives_the_mean_back_and_no_norm_does_not() -> None:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 77, 8, generator=generator) + 0.5
    weights = torch.ones(2, 77)
    weights[:, 5] = 1.4
    plain = emphasised(states, weights, "No norm")
    assert torch.equal(plain[:, 5], states[:, 5] * 1.4)
    assert torch.equal(plain[:, 6], states[:, 6])
    original = emphasised(states, weights, "Original")
    assert original.mean().item() == pytest.approx(states.mean().item(), rel=1e-5)
    ratio = original / plain
    assert torch.allclose(ratio, ratio.flatten()[0].expand_as(ratio), rtol=1e-4)


def test_original_refuses_to_explode() -> None:
    states = torch.ones(1, 77, 4)
    weights = torch.ones(1, 77)
    weights[0, 1] = -75.0
    with pytest.raises(Failed, match="No norm"):
        emphasised(states, weights, "Original")
