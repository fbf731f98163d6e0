"""What is not finite in the inputs of a merge: told before it where samples show it, else when it is merged."""

from collections.abc import Sequence

from torch import Tensor

from enogu.core.networks.finite import is_finite
from enogu.core.networks.keys import place
from enogu.core.records.errors import Refused
from enogu.merge.plan import KeyPlan, Plan
from enogu.merge.samples import Samples

NAMED = 3  # tensors that a refusal lists


def refuse_damaged(plan: Plan, samples: Samples) -> None:
    """Refuse models whose samples are damaged where the result takes anything from them."""
    if plan.config.nonfinite == "keep":
        return
    found: dict[str, list[str]] = {}
    for models in samples.values():
        for name, row in models.items():
            found.setdefault(name, []).extend(key for key in row if _is_damaged(plan.kept.get(key), name, row[key]))
    if problems := [damage(name, keys) for name, keys in found.items() if keys]:
        raise Refused("\n".join(problems))


def damage(model: str, keys: Sequence[str]) -> str:
    """Return what is wrong with tensors of a model and what to do about it."""
    named = ", ".join(keys[:NAMED]) + (f" and {len(keys) - NAMED} others" if len(keys) > NAMED else "")
    remedy = "use a sound copy, or let it through (--keep-nonfinite; in a recipe nonfinite = 'keep')"
    return f"{named} of {model} holds NaN or infinities; {remedy}"


def must_be_finite(item: KeyPlan) -> bool:
    """Return whether a tensor of the result is made of weights; a schedule may end at infinity."""
    return item.spec.dtype.is_floating_point and not place(item.key).fixed


def _is_damaged(item: KeyPlan | None, model: str, values: Tensor) -> bool:
    return bool(item and model in item.result.models() and must_be_finite(item)) and not is_finite(values)
