"""How far a merge is from float64 arithmetic on whole tensors, before it is rounded to the file's dtype."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from enogu.merge.computation import Computation
from enogu.merge.config import MergeConfig
from enogu.merge.inputs import open_inputs, read_headers
from enogu.merge.plan import make_plan

TENSORS = 8  # looked at, evenly over the file
MOST = 1_000_000  # elements of a tensor that is looked at
STEPS = 300
Array = np.ndarray[Any, np.dtype[np.float64]]


def worst_error(case: Mapping[str, Any], files: Sequence[Path]) -> float:
    """Return the largest error of some tensors, relative to the answer's largest element."""
    named = {f"m{number}": file for number, file in enumerate(files)}
    config = MergeConfig(formula=case["enogu"], dtype="fp32", vae="formula", text="formula")
    plan, worst = make_plan(config, read_headers(named)), 0.0
    small = [key for key, item in plan.kept.items() if item.action == "merged" and _numel(item.spec.shape) <= MOST]
    with open_inputs(named) as readers:
        for key in small[:: max(len(small) // TENSORS, 1)]:
            found = torch.cat(list(Computation(plan).tensor(key, readers))).double().numpy()
            models = [readers[name].tensor(key).double().numpy().reshape(-1) for name in named]
            expected = ANSWERS[case["answer"]](models)
            worst = max(worst, float(np.abs(found - expected).max() / np.abs(expected).max()))
    return worst


def geometric_median(models: Sequence[Array]) -> Array:
    """Return Weiszfeld's iteration, the plain way."""
    stack = np.stack(models)
    at: Array = stack.mean(axis=0)
    for _ in range(STEPS):
        pull = np.array([1.0 / np.linalg.norm(model - at) for model in stack])
        at = (pull / pull.sum()) @ stack
    return at


def model_stock(models: Sequence[Array]) -> Array:
    """Return base + t * mean difference, t from the mean cosine of all pairs."""
    base, *tuned = models
    deltas = np.stack([model - base for model in tuned])
    units = deltas / np.linalg.norm(deltas, axis=1, keepdims=True)
    count = len(deltas)
    cosine = ((units @ units.T).sum() - count) / (count * (count - 1))
    result: Array = base + np.clip(count * cosine / (1 + (count - 1) * cosine), 0.0, 1.0) * deltas.mean(axis=0)
    return result


ANSWERS = {"geometric_median": geometric_median, "model_stock": model_stock}


def _numel(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))
