"""How well the exported tagger does on real drawings it never saw: thresholds, and the ceiling they give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enogu.core.networks.tagger import Tagger
from enogu.mini.pen import Canvas
from enogu.mini.tagger_labels import labels
from enogu.mini.tagger_pictures import held_out

Flags = NDArray[np.bool_]
CHUNK = 250  # pictures in memory at once
LEAST = 0.05  # a threshold below this would be noise


def judged(tagger: Tagger, seed: int, count: int, *, tick: Callable[[int], None]) -> tuple[NDArray[np.float32], Flags]:
    """Probabilities and truth of fresh drawings, both [count, tags]."""
    probabilities, truth = [], []
    for start in range(0, count, CHUNK):
        drawn: list[tuple[Canvas, NDArray[np.float32]]] = [
            held_out(seed, index) for index in range(start, min(count, start + CHUNK))
        ]
        probabilities.append(tagger.probabilities([picture for picture, _ in drawn]))
        truth.append(np.stack([tags for _, tags in drawn]) > 0.5)
        tick(start + len(drawn))
    return np.concatenate(probabilities), np.concatenate(truth)


def best_thresholds(probabilities: NDArray[np.float32], truth: Flags) -> dict[str, float]:
    """Per tag the threshold of the best F1."""
    return {
        label.name: round(max(LEAST, _best(probabilities[:, column], truth[:, column])), 4)
        for column, label in enumerate(labels())
    }


def ceiling(probabilities: NDArray[np.float32], truth: Flags, thresholds: dict[str, float]) -> dict[str, Any]:
    """Recall, precision and accuracy per tag, and the means over tags that occur."""
    found = probabilities >= np.array([thresholds[label.name] for label in labels()], np.float32)
    tags = {
        label.name: _rates(found[:, column], truth[:, column])
        for column, label in enumerate(labels())
        if truth[:, column].any()
    }
    means = {rate: round(float(np.mean([row[rate] for row in tags.values()])), 4) for rate in _RATES}
    return {"pictures": len(truth), "mean": means, "tags": tags}


_RATES = ("recall", "precision", "accuracy")


def _rates(found: Flags, truth: Flags) -> dict[str, float]:
    both = int((found & truth).sum())
    return {
        "posts": int(truth.sum()),
        "recall": round(both / int(truth.sum()), 4),
        "precision": round(both / max(1, int(found.sum())), 4),
        "accuracy": round(float((found == truth).mean()), 4),
    }


def _best(scores: NDArray[np.float32], truth: Flags) -> float:
    order = np.argsort(-scores)
    hits = np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + max(1, truth.sum()))
    best = int(np.argmax(f1))
    after = scores[order[min(best + 1, len(order) - 1)]]
    return float(scores[order[best]] + after) / 2
