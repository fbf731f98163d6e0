"""Which tensors SuperMerger merges at all: its Include and Exclude lists, and keys that it passes over."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from enogu.core.networks.header import Header
from enogu.core.networks.keys import why_fixed
from enogu.core.records.errors import Refused
from enogu.merge.blocks import BASE, VAE

CHOICES = ("Include", "Exclude")
WORDS: Mapping[str, str] = {  # its names for parts of SDXL that have no number, and what their keys hold
    "CLIPL": "conditioner.embedders.0.",
    "CLIPG": "conditioner.embedders.1.",
    "TIME": "time_embed.",
    "LABEL": "label_emb.",
}
MERGED = ("weight", "bias")  # it merges only tensors whose keys hold one of these
ADJUSTED = tuple(
    f"diffusion_model.{layer}.{word}" for layer in ("input_blocks.0.0", "out.0", "out.2") for word in MERGED
)
SMALLER = re.compile(r"(IN|OUT|M)\d{3,}")  # blocks within blocks of its extended SDXL, IN410


def kept(made: Mapping[str, Any], header: Header, blocks: Sequence[str]) -> str:
    """Return block weights that are 1 where SuperMerger merges and 0 where A stays; nothing if it merges all."""
    choice = next((word for word in CHOICES if any(made.get(word) or [])), "")
    default, hit = ("0", "1") if choice == "Include" else ("1", "0")
    slots, words = _chosen([str(each) for each in made.get(choice) or []], blocks)
    named = {name: hit for name in slots if name != BASE}
    rules = [*(f":{word}:{hit}" for word in words), *(f":{word}:0" for word in _passed_over(header))]
    if not named and not rules and BASE not in slots:
        return ""
    options = [f"{name}={value}" for name, value in named.items()]
    options += [f"rules=[{', '.join(map(repr, rules))}]"] if rules else []
    return f"blocks({', '.join([default, f'base={hit if BASE in slots else default}', *options])})"


def _chosen(listed: Sequence[str], blocks: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the blocks and the parts of keys that a list means; a word with a space is in no key."""
    slots: list[str] = []
    words: list[str] = []
    for word in filter(None, listed):
        if SMALLER.fullmatch(word):
            raise Refused(f"SuperMerger's list holds {word!r}, a part of a block; write the merge by hand with rules=")
        if word in (*blocks, VAE):
            slots.append(word)
        elif word == "Adjust":
            words += ADJUSTED
        elif not set(word) & set(" \t:,\n"):
            words.append(WORDS.get(word, word))
    return slots, words


def _passed_over(header: Header) -> Iterator[str]:
    """Yield the last words of keys that SuperMerger does not see, such as OpenCLIP's text_projection."""
    odd = (
        key for key, info in header.tensors.items() if not why_fixed(key, info) and not any(w in key for w in MERGED)
    )
    yield from sorted({key.rpartition(".")[2] for key in odd})
