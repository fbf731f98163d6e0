"""Block weights: which number of a list hits which tensor, under a named convention."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from enogu.core.networks.keys import place
from enogu.core.records.errors import Refused, unknown
from enogu.merge.adapters.lists import spread
from enogu.merge.presets import preset, resample
from enogu.merge.rules import Rule, slots_named

BASE, VAE, TIME, LABEL, HEAD = "BASE", "VAE", "TIME", "LABEL", "HEAD"
CONVENTIONS = ("webui", "mecha", "comfy")
ORDERS = ("base-first", "base-last")
FITS = ("exact", "truncate", "resample")
MIDDLE = re.compile(r"model\.diffusion_model\.middle_block\.(\d+)\.")


@dataclass(frozen=True)
class BlockWeights:
    """One number per slot and the rules that overrule them; it answers with the share of the second model."""

    weights: Mapping[str, float]
    convention: str
    rules: tuple[Rule, ...] = ()

    def at(self, key: str) -> float:
        """Return the number for a tensor: of its slot, or of the last rule that speaks of it."""
        name = self.slot(key)
        if name not in self.weights:  # comfy has no slider for what is not in the UNet
            return 0.0
        value = self.weights[name]
        for rule in self.rules:
            value = rule.value if rule.hits(key, name) else value
        return 1.0 - value if self.convention == "comfy" else value

    def slot(self, key: str) -> str:
        """Return the slot of a tensor."""
        return slot(key, tuple(self.weights), self.convention)


def block_names(keys: Iterable[str]) -> tuple[str, ...]:
    """Return BASE and the numbered blocks of a UNet in the order of every known list of weights."""
    found = {place(key).block for key in keys}
    numbered = [sorted(name for name in found if re.fullmatch(rf"{kind}\d+", name)) for kind in ("IN", "M", "OUT")]
    return (BASE, *(name for names in numbered for name in names))


def slots(blocks: Sequence[str], *, convention: str = "webui", order: str = "base-first") -> tuple[str, ...]:
    """Return the names that the numbers of a list belong to, in the order of the list.

    webui, mecha: BASE and the blocks; Kohaku XL's list has BASE last. comfy: the sliders of the nodes ModelMergeSD1
    and ModelMergeSDXL, which know the embeddings, three middles and the head, but neither text encoder nor VAE.
    """
    if convention not in CONVENTIONS:
        raise unknown("block convention", convention, CONVENTIONS)
    if order not in ORDERS:
        raise unknown("order of block weights", order, ORDERS)
    base, *rest = blocks
    if convention == "comfy":
        middles = [f"{name}.{i}" for name in rest if name.startswith("M") for i in range(3)]
        inputs, outputs = ([name for name in rest if name.startswith(kind)] for kind in ("IN", "OUT"))
        return (TIME, LABEL, *inputs, *middles, *outputs, HEAD)
    return (base, *rest) if order == "base-first" else (*rest, base)


@cache
def slot(key: str, names: tuple[str, ...], convention: str) -> str:
    """Return the name whose number a tensor takes.

    webui (bbc-mc, meh, SuperMerger): time and label embeddings go with IN00, the head with the last OUT.
    mecha (sd-mecha): the embeddings go with BASE. Both: text encoders and VAE with BASE, unless VAE has a number
    by name. comfy: each its own.
    """
    block = place(key).block
    if VAE in names and place(key).component == "vae":
        return VAE
    if convention == "comfy":
        middle = MIDDLE.match(key)
        return f"{block}.{middle[1]}" if middle else block or BASE
    if block in names:
        return block
    if block == HEAD:
        return max(name for name in names if name.startswith("OUT"))
    if block in (TIME, LABEL) and convention == "webui":
        return min(name for name in names if name.startswith("IN"))
    return BASE


def block_weights(
    numbers: Sequence[float] | str,
    blocks: Sequence[str],
    *,
    base: float | None = None,
    convention: str = "webui",
    order: str = "base-first",
    fit: str = "exact",
    named: Mapping[str, float] | None = None,
    rules: Sequence[Rule] = (),
) -> BlockWeights:
    """Bind numbers, or a preset, to blocks; `base` is the weight of BASE where the list leaves it out."""
    names = slots(blocks, convention=convention, order=order)
    if fit not in FITS:
        raise unknown("fit of block weights", fit, FITS)
    if isinstance(numbers, str):
        numbers = preset(numbers, len(names) - (BASE in names))
    if fit != "exact":
        numbers = _fitted(numbers, blocks, fit)
    if BASE in names:
        numbers = spread(numbers, names)
    if BASE in names and len(numbers) == len(names) and base is not None:
        raise Refused(f"{len(names)} block weights hold the one of BASE; give them or base=, not both")
    if BASE in names and len(numbers) == len(names) - 1:
        where = names.index(BASE)
        numbers = [*numbers[:where], 0.0 if base is None else base, *numbers[where:]]
    if len(numbers) != len(names):
        raise Refused(_wrong_count(numbers, names))
    if base is not None and BASE in (named or {}):
        raise Refused(f"base={base:g} and BASE={(named or {})[BASE]:g} are one number; give it once")
    weights = dict(zip(names, map(float, numbers), strict=True))
    for name, value in (named or {}).items():
        weights |= dict.fromkeys(slots_named(name, (*names, VAE)), value)
    return BlockWeights(weights, convention, tuple(rule.within(names) for rule in rules))


def _fitted(numbers: Sequence[float], blocks: Sequence[str], fit: str) -> list[float]:
    """Return a list for another number of blocks cut down as SuperMerger does, or its curve drawn again."""
    wanted = len(blocks)
    base, curve = (list(numbers[:1]), list(numbers[1:])) if len(numbers) in (20, 26) else ([], list(numbers))
    if fit == "resample":
        return [*base, *resample(curve, wanted - 1)]
    if len(curve) == 25 and wanted == 20:
        curve = truncated(curve)
    return [*base, *curve]


def truncated(curve: Sequence[float]) -> list[float]:
    """Return 19 of 25 numbers: IN09 to IN11 and OUT09 to OUT11 dropped (SuperMerger, when it meets SDXL)."""
    return [*curve[:9], *curve[12:22]]


def _wrong_count(numbers: Sequence[float], names: Sequence[str]) -> str:
    text = f"{len(numbers)} block weights; this family takes {len(names)} ({names[0]}, {names[1]} ... {names[-1]})"
    text += f" or {len(names) - 1} with base=..." if BASE in names else ""
    if len(numbers) in (25, 26) and len(names) == 20:
        shown = [float(f"{x:g}") for x in [*numbers[: len(numbers) - 25], *truncated(numbers[-25:])]]
        text += f"; a list for SD1 has no exact reading here: fit='truncate' reads {shown}"
        text += " as SuperMerger does (IN09-11 and OUT09-11 dropped), fit='resample' draws the curve again"
    elif len(numbers) in (19, 20) and len(names) == 26:
        text += "; a list for SDXL has no exact reading here: fit='resample' draws its curve again"
    return text
