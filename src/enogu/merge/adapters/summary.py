"""What an adapter file is: the family that it was made for, and its kinds, ranks and alphas by component."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from enogu.core.networks.header import Header
from enogu.core.networks.keys import NAMES, place
from enogu.core.networks.layouts import layouts
from enogu.core.networks.stream import Reader
from enogu.merge.adapters.fitting import SIZES, damages, family
from enogu.merge.adapters.modules import gather, is_adapter
from enogu.merge.adapters.names import names

# the part that shows a kind, and the one whose first axis is its rank
KINDS: Mapping[str, tuple[str, str]] = {
    "mid": ("LoCon with a core", "down"),
    "down": ("LoRA", "down"),
    "w1_a": ("LoHa", "w1_b"),
    "k2_b": ("LoKr", "k2_b"),
    "k1_b": ("LoKr", "k1_b"),
    "k1": ("LoKr", ""),
    "diff": ("full", ""),
    "bias": ("bias", ""),
}


def summary(file: Reader, *, deep: bool) -> dict[str, Any] | None:
    """Return what an adapter tells, or None for another file; `deep` reads its alphas, too."""
    header = file.header
    if not is_adapter(header.tensors):
        return None
    found, (best, fitting) = gather(header.tensors), family(header)
    places, kinds = names(layouts()[best].shapes), Counter[tuple[str, str, int, float | None]]()
    for module, parts in found.parts.items():
        kind, factor = next((KINDS[part] for part in KINDS if part in parts), ("unknown", ""))
        kind = f"DoRA of {kind}" if parts.keys() & SIZES else kind
        rank = header.tensors[parts[factor]].shape[0] if factor in parts else 0
        site = places.find(module)
        alpha = float(file.tensor(parts["alpha"])) if deep and _one_number(header, parts.get("alpha")) else None
        kinds[place(site.weight).component if site else "other", kind, rank, alpha] += 1
    rows = [
        {"component": component, "kind": kind, "rank": rank or None, "alpha": alpha, "modules": count}
        for (component, kind, rank, alpha), count in sorted(kinds.items(), key=lambda item: (item[0][:3], -item[1]))
    ]
    return {
        "family": best if fitting else None,
        "fitting": fitting,
        "modules": len(found.parts),
        "kinds": _sums(rows, "kind"),
        "ranks": dict(sorted(_sums(rows, "rank").items())),
        "components": _sums(rows, "component"),
        "parts": rows,
        "unread": dict(found.unread),
        "damage": list(damages(header)),
    }


def _one_number(header: Header, key: str | None) -> bool:
    return key is not None and header.tensors[key].numel == 1


def _sums(rows: Sequence[Mapping[str, Any]], by: str) -> dict[Any, int]:
    sums: Counter[Any] = Counter()
    for row in rows:
        sums[row[by]] += row["modules"]
    return {value: count for value, count in sums.most_common() if value is not None}


def told(found: Mapping[str, Any]) -> str:
    """Return a summary in one line."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in {**found["kinds"], **found["unread"]}.items())
    ranks = list(found["ranks"])
    rank = f", rank {ranks[0]}" + (f" to {ranks[-1]}" if len(ranks) > 1 else "") if ranks else ""
    where = f" for {found['family']}" if found["family"] else " for no known family"
    return f"an adapter{where} ({kinds}{rank}; modules: {_counted(found['components'])})"


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for every kind in every component."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in found["parts"]:
        groups.setdefault((row["component"], row["kind"]), []).append(row)
    for (component, kind), rows in groups.items():
        spans = (_span(name, [row[name] for row in rows if row[name] is not None]) for name in ("rank", "alpha"))
        count = sum(row["modules"] for row in rows)
        where = "without a place" if component == "other" else f"in {NAMES[component]}"
        yield f"{count:,} modules {where}: {', '.join([kind, *filter(None, spans)])}"
    yield from (f"damaged: {problem}" for problem in found["damage"])


def _span(name: str, values: Sequence[float]) -> str:
    if not values:
        return ""
    low, high = min(values), max(values)
    return f"{name} {low:g}" + (f" to {high:g}" if high > low else "")


def _counted(components: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in components.items()) or "none"
