"""How like the models of a merge are, by a few tensors of each: strangers, unlikely ancestors, parts that differ."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from enogu.core.networks.keys import NAMES, TEXT_ENCODERS, place
from enogu.merge.algebra import Applied, Combination, Model
from enogu.merge.plan import Plan
from enogu.merge.samples import Samples

SHOWN = 6  # names that a warning lists, and pairs that are warned of
STRANGERS = 0.8  # fine-tunes of one model stay above this cosine; models that share none are near 0
SAME = 1e-2  # relative difference below which two parts are one part in two dtypes


def likeness(plan: Plan, samples: Samples) -> Iterator[str]:
    """Yield what the weights themselves warn of."""
    rows = {part: {name: _row(found) for name, found in models.items()} for part, models in samples.items()}
    relations = list(_relations(plan, rows["unet"]))
    yield from relations[:SHOWN]
    if len(relations) > SHOWN:
        yield f"{len(relations) - SHOWN} other pairs of models call for the same warnings"
    yield from _twins(plan, rows["unet"])
    for part in (*TEXT_ENCODERS, "vae"):
        yield from _differing(plan, part, rows[part])


def _row(found: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([values.double() for values in found.values()])


def _relations(plan: Plan, rows: Mapping[str, Tensor]) -> Iterator[str]:
    told: set[tuple[str, ...]] = set()
    for combination in dict.fromkeys(
        each for item in plan.keys if item.action == "merged" for each in _all(item.result)
    ):
        terms = [(node.name, value) for node, value in combination.terms if isinstance(node, Model)]
        added = [name for name, value in terms if value > 0.0 and name in rows]
        taken = [name for name, value in terms if value < 0.0 and name in rows]
        for name in taken:
            nearest = max(added, key=lambda other: _cosine(rows[name], rows[other]), default=None)
            if nearest and (name, nearest) not in told:
                told.add((name, nearest))
                yield from _ancestor(name, nearest, rows)
        for other in added[1:]:
            pair = (added[0], other)
            if pair not in told and not taken and _cosine(rows[added[0]], rows[other]) < STRANGERS:
                told.add(pair)
                yield (
                    f"{added[0]} and {other} look like strangers (cosine {_cosine(rows[added[0]], rows[other]):.2f}); "
                    "a blend of models without a common ancestor is seldom a model"
                )


def _ancestor(name: str, nearest: str, rows: Mapping[str, Tensor]) -> Iterator[str]:
    cosine = _cosine(rows[name], rows[nearest])
    if cosine < STRANGERS:
        yield (
            f"{name} does not look like the ancestor of {nearest} (cosine {cosine:.2f}); "
            "their difference holds more than what was learnt: subtract the model that training began with"
        )
    elif torch.equal(rows[name], rows[nearest]):
        yield f"{nearest} and {name} look the same; their difference adds nothing"


def _twins(plan: Plan, rows: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield groups of models under several names that are one, among those that are blended and never subtracted."""
    results = dict.fromkeys(item.result for item in plan.keys if place(item.key).component == "unet")
    terms = [(node, value) for result in results for each in _all(result) for node, value in each.terms]
    added, taken = (
        {node.name for node, value in terms if isinstance(node, Model) and value * sign > 0} for sign in (1, -1)
    )
    alike: dict[int, list[str]] = {}
    for name in (name for name in rows if name in added - taken):
        alike.setdefault(hash(rows[name].numpy().tobytes()), []).append(name)
    for names in alike.values():
        if len(names) > 1:
            listed = ", ".join(names[:SHOWN]) + " ..." * (len(names) > SHOWN)
            yield f"{listed} look the same: one model counts {len(names)} times"


def _differing(plan: Plan, part: str, rows: Mapping[str, Tensor]) -> Iterator[str]:
    first, *others = rows or ("",)
    unlike = [name for name in others if _distance(rows[first], rows[name]) > SAME]
    if not unlike:
        return
    actions = {item.action == "merged" for item in plan.keys if place(item.key).component == part}
    what = NAMES[part]
    word = "vae" if part == "vae" else "text"
    sources = {name for item in plan.keys if place(item.key).component == part for name in item.result.models()}
    if True in actions:
        tail = "two blended VAEs are seldom one good VAE" if part == "vae" else "the result blends them"
    else:
        tail = f"the result has that of {', '.join(sorted(sources))}; {word} chooses another or blends"
    yield f"the {what}s of {first} and {_listed(unlike)} differ; {tail}"


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed) if len(listed) <= 4 else f"{len(listed)} others"


def _all(combination: Combination) -> Iterable[Combination]:
    found = {combination: None}
    waiting = [combination]
    while waiting:
        tensors = [each for node, _ in waiting.pop().terms if isinstance(node, Applied) for each in node.tensors]
        waiting += [each for each in tensors if each not in found]
        found |= dict.fromkeys(tensors)
    return found


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0).nan_to_num())


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / one.norm().clamp_min(1e-30))
