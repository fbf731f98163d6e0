"""Whether the inputs of a merge hold NaN or infinities, told before it by a stretch of every tensor.

Most damage fills whole tensors. What lies deeper is found when the tensor is merged, before the file takes its name.
"""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from enogu.core.networks.keys import place
from enogu.core.networks.source import open_source
from enogu.core.records.errors import Refused
from enogu.merge.plan import KeyPlan, Plan

ELEMENTS = 1 << 10  # looked at per tensor
NAMED = 3  # tensors that a refusal lists


def refuse_damaged(plan: Plan, files: Mapping[str, Path]) -> None:
    """Refuse models whose tensors are seen to be damaged, if the result takes anything from them."""
    if plan.config.nonfinite == "keep":
        return
    needed: dict[str, list[str]] = {name: [] for name in plan.sources}
    for item in filter(must_be_finite, plan.kept.values()):
        for name in set(item.result.models()):
            needed[name].append(item.key)
    with ThreadPoolExecutor() as pool:
        seen = dict(zip(needed, pool.map(_damaged, [files[name] for name in needed], needed.values()), strict=True))
    if found := [damage(name, keys) for name, keys in seen.items() if keys]:
        raise Refused("\n".join(found))


def damage(model: str, keys: Sequence[str]) -> str:
    """Return what is wrong with tensors of a model and what to do about it."""
    named = ", ".join(keys[:NAMED]) + (f" and {len(keys) - NAMED} others" if len(keys) > NAMED else "")
    remedy = "use a sound copy, or let it through (--keep-nonfinite; in a recipe nonfinite = 'keep')"
    return f"{named} of {model} holds NaN or infinities; {remedy}"


def must_be_finite(item: KeyPlan) -> bool:
    """Return whether a tensor of the result is made of weights; a schedule may end at infinity."""
    return item.spec.dtype.is_floating_point and not place(item.key).fixed


def is_finite(values: Tensor) -> bool:
    """Return whether all elements are finite; a finite sum, which is quick to have, says so."""
    wide = values if values.itemsize > 1 else values.float()  # torch does not sum 8-bit floats
    return math.isfinite(float(wide.sum(dtype=torch.float32))) or bool(torch.isfinite(wide).all())


def _damaged(path: Path, keys: Sequence[str]) -> list[str]:
    """Return the tensors of a file that begin with anything that is not finite; those of an adapter are not its own."""
    with open_source(path) as source:
        tensors = source.header.tensors
        held = [key for key in keys if key in tensors]
        return [key for key in held if not is_finite(source.stretch(key, 0, min(ELEMENTS, tensors[key].numel)))]
