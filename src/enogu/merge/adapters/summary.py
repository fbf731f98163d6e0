"""What an adapter file is: its kinds, its ranks, the family that it was made for."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from enogu.core.networks.header import Header
from enogu.core.networks.keys import place
from enogu.core.networks.layouts import layouts
from enogu.merge.adapters.binding import family
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


def summary(header: Header) -> dict[str, Any] | None:
    """Return what an adapter's header tells, or None for another file."""
    if not is_adapter(header.tensors):
        return None
    found, (best, fitting) = gather(header.tensors), family(header)
    places = names(layouts()[best].shapes)
    kinds: Counter[str] = Counter()
    ranks: Counter[int] = Counter()
    components: Counter[str] = Counter()
    for module, parts in found.parts.items():
        kind, factor = next((KINDS[part] for part in KINDS if part in parts), ("unknown", ""))
        kinds[f"DoRA of {kind}" if parts.keys() & {"magnitude", "row_magnitude"} else kind] += 1
        ranks[header.tensors[parts[factor]].shape[0] if factor else 0] += 1
        site = places.find(module)
        components[place(site.weight).component if site else "other"] += 1
    return {
        "family": best if fitting else None,
        "fitting": fitting,
        "modules": len(found.parts),
        "kinds": dict(kinds.most_common()),
        "ranks": {rank: count for rank, count in sorted(ranks.items()) if rank},
        "components": dict(components.most_common()),
        "unread": dict(found.unread),
    }


def told(found: Mapping[str, Any]) -> str:
    """Return a summary in one line."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in {**found["kinds"], **found["unread"]}.items())
    ranks = list(found["ranks"])
    rank = f", rank {ranks[0]}" + (f" to {ranks[-1]}" if len(ranks) > 1 else "") if ranks else ""
    where = f" for {found['family']}" if found["family"] else " for no known family"
    return f"an adapter{where} ({kinds}{rank}; modules: {_counted(found['components'])})"


def _counted(components: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in components.items()) or "none"
