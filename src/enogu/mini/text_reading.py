"""The mini text encoder learns to read before it learns to draw: at each tag's last token it must say which tag ended.

CLIP's encoder comes to diffusion with words already bound to one another; a small one that starts from noise needs
most of its training to find that the `hair` after `red` is not the `hair` after `blue`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn

from enogu.core.networks.checkpoint import load_model, save
from enogu.core.networks.chunks import chunk_tokens
from enogu.core.networks.tokenizer import tokenize
from enogu.core.records.errors import Refused
from enogu.core.records.hashes import sha256_file
from enogu.core.records.job import Job
from enogu.core.records.seed import derive, generator
from enogu.mini.config import TextConfig
from enogu.mini.traits import characters, novel_tags, tables
from enogu.mini.unfinished import Unfinished

NOTHING = 0  # the class of a token that ends no tag
STATE_EVERY = 100  # updates between saves of the unfinished lesson
MOST_TAGS = 24  # in one sentence; as many as a 75-token window holds


class Captions(Protocol):
    """What a caption reader of the captions room offers."""

    def plain(self, post: int) -> str:
        """Return a post's caption, nothing dropped."""


Reader = Callable[[Path, int], Captions]


def vocabulary() -> list[str]:
    """Return every tag of the drawn booru that is not novel, as captions spell it."""
    tags = [tag for rows in tables().values() for tag in rows] + list(characters())
    return [tag.replace("_", " ") for tag in tags if tag not in novel_tags()]


def spoken(captions: Path, reader: Reader, *, common: int) -> list[str]:
    """Return the tags that at least `common` captions of a record say, in the order of the alphabet."""
    said = reader(captions, 0)
    posts = pl.read_parquet(captions / "captions.parquet", columns=["post"])["post"].unique()
    counts = Counter(tag.strip() for post in posts for tag in said.plain(post).split(","))
    tags = sorted(tag for tag, count in counts.items() if tag and count >= common)
    if not tags:
        most = max(counts.values(), default=0)
        raise Refused(f"common = {common}: no tag is said by so many captions; the commonest is said by {most}")
    return tags


def sentence(words: list[list[int]], comma: list[int], rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens (77,) of some tags in a random order and, per token, one plus the tag that ends there."""
    ids: list[int] = []
    ends: list[int] = []
    for tag in rng.permutation(len(words))[: int(rng.integers(1, MOST_TAGS + 1))]:
        ids += (comma if ids else []) + words[tag]
        ends += [NOTHING] * (len(ids) - len(ends) - 1) + [int(tag) + 1]
    row = chunk_tokens(ids, chunks=1)[0]
    labels = np.zeros(len(row), dtype=np.int64)
    labels[1 : 1 + min(len(ends), len(row) - 2)] = ends[: len(row) - 2]
    return row, labels


def make_reader(config: TextConfig, job: Job, tags: list[str]) -> dict[str, Any]:
    """Train the text encoder of a checkpoint on tags and write `model.safetensors` with all else unchanged."""
    model = load_model(job.one("start"), job.device)
    words = [tokenize(word) for word in tags]
    torch.manual_seed(derive(config.seed, "reading head"))
    head = nn.Linear(model.family.text.width, len(words) + 1).to(job.device)
    text = model.text.requires_grad_(True).train()
    trained = [*text.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=config.rate, betas=(0.9, 0.99), weight_decay=0.01)
    state = Unfinished(job.out / "state.safetensors", nn.ModuleDict({"text": text, "head": head}), optimizer)
    first, right = state.restore(), 0.0
    for update in range(first, config.updates):
        rng = generator(config.seed, "sentences", update)
        rows, labels = zip(*(sentence(words, tokenize(","), rng) for _ in range(config.batch)), strict=True)
        truth = torch.from_numpy(np.stack(labels)).to(job.device)
        logits: Tensor = head(text(torch.from_numpy(np.stack(rows)).to(job.device)))
        loss = F.cross_entropy(logits.flatten(0, 1), truth.flatten())
        for group in optimizer.param_groups:
            group["lr"] = config.rate * min(1.0, (update + 1) / 100) * (1 - update / config.updates)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        said = logits.argmax(dim=-1)[truth != NOTHING] == truth[truth != NOTHING]
        right += (float(said.float().mean()) - right) * max(0.02, 1 / (update - first + 1))
        if (update + 1) % STATE_EVERY == 0:
            state.keep(update + 1)
        job.progress(update + 1, config.updates, f"updates, {right:.1%} of tags read")
    save(job.out / "model.safetensors", model.state_dict(), {"format": "pt", "enogu.family": model.family.name})
    return {
        "updates": config.updates,
        "tags": len(tags),
        "read": right,
        "sha256": sha256_file(job.out / "model.safetensors"),
    }
