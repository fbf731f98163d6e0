"""A plan for people and programs: what becomes of each component, each block, each tensor."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from enogu.core.networks.header import CODES
from enogu.core.networks.keys import COMPONENTS, NAMES, place
from enogu.core.records.printable import printable
from enogu.merge.plan import AS_IT_IS, KeyPlan, Plan

LONG, MANY = 240, 12  # characters of a value and names of models that a line shows
ORDER = ("TIME", "LABEL", "IN", "M", "OUT", "HEAD")


def summary(plan: Plan) -> dict[str, Any]:
    """Return what a plan amounts to."""
    counts = Counter(item.action for item in plan.keys)
    return {
        "formula": plan.config.formula,
        "models": list(plan.sources),
        "tensors": {action: counts[action] for action in ("merged", "copied", "cast", "dropped") if counts[action]},
        "components": {name: lines for name in COMPONENTS if (lines := component(plan, name))},
        "predicts": str(plan.objective),
        "bytes": plan.out_bytes,
        "warnings": list(plan.warnings),
    }


def rows(plan: Plan) -> list[dict[str, Any]]:
    """Return one row per tensor."""
    return [
        {
            "key": item.key,
            "component": place(item.key).component,
            "block": place(item.key).block,
            "action": item.action,
            "dtype": CODES[item.spec.dtype],
            "shape": list(item.spec.shape),
            "value": _what(item),
        }
        for item in plan.keys
    ]


def key_lines(plan: Plan) -> list[str]:
    """Return one line per tensor."""
    cells = [
        (row["action"], row["dtype"], "x".join(map(str, row["shape"])), row["key"], row["value"]) for row in rows(plan)
    ]
    action, dtype, shape, key = (max(map(len, column)) for column in list(zip(*cells, strict=True))[:4])
    return [f"{a:<{action}}  {d:<{dtype}}  {s:<{shape}}  {k:<{key}}  {value}".rstrip() for a, d, s, k, value in cells]


def text(plan: Plan) -> str:
    """Return a plan as lines: sizes, components (by block where the formula differs), warnings."""
    lines = [f"{len(plan.kept):,} tensors, {plan.out_bytes / 2**20:,.1f} MiB, from {_listed(plan.sources)}"]
    for name in COMPONENTS:
        lines += [f"  {NAMES[name]}: {line}" for line in component(plan, name)]
    lines += [f"  predicts: {plan.objective}"] if plan.objective.told else []
    return "\n".join(map(printable, [*lines, *(f"warning: {warning}" for warning in plan.warnings)]))


def component(plan: Plan, name: str) -> list[str]:
    """Return what becomes of a component, one line per fate, its blocks named where they differ."""
    items = sorted((item for item in plan.keys if place(item.key).component == name), key=_rank)
    by_block = len({item.result for item in items if _chosen(item)}) > 1
    groups: dict[tuple[str, str], list[str]] = {}
    for item in items:
        block = place(item.key).block if by_block and _chosen(item) else ""
        groups.setdefault((f"{item.action} {_what(item)}", CODES[item.spec.dtype]), []).append(block)
    fates = Counter(what for what, _ in groups)
    return [
        f"{_named(blocks)}{len(blocks):,} {_brief(what)}"
        + (f", in {dtype}" if fates[what] > 1 or what[:4] == "cast" else "")
        for (what, dtype), blocks in groups.items()
    ]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= MANY else f"{', '.join(names[:MANY])} and {len(names) - MANY} more"


def _brief(what: str) -> str:
    """Return what becomes of a tensor at a length that can be read; the rows of tensors have all of it."""
    return what if len(what) <= LONG else f"{what[:LONG].rpartition(' ')[0]} ... ({len(what):,} characters)"


def _chosen(item: KeyPlan) -> bool:
    """Return whether the formula itself decided, and may have decided otherwise for another block."""
    return item.action == "merged" or AS_IT_IS in item.why


def _rank(item: KeyPlan) -> tuple[int, str]:
    block = place(item.key).block
    return next((i for i, kind in enumerate(ORDER) if block.startswith(kind)), len(ORDER)), block


def _named(blocks: list[str]) -> str:
    return ", ".join(dict.fromkeys(block for block in blocks if block)) + ": " if any(blocks) else ""


def _what(item: KeyPlan) -> str:
    return f"as {item.result}" if item.action == "merged" else item.why
