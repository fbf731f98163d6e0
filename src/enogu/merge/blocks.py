"""Block weights: which number of a list hits which tensor, under a named convention."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from enogu.core.networks.keys import Place, place
from enogu.core.records.errors import Refused, unknown
from enogu.merge.presets import PRESETS, preset

CONVENTIONS = ("webui", "mecha")
BASE = "BASE"


@dataclass(frozen=True)
class BlockWeights:
    """One number per block name, and where the parts without a number of their own go."""

    weights: Mapping[str, float]
    convention: str

    def at(self, where: Place) -> float:
        """Return the number for a tensor."""
        return self.weights[slot(where, tuple(self.weights), self.convention)]


def block_names(keys: Iterable[str]) -> tuple[str, ...]:
    """Return BASE and the numbered blocks of a UNet in the order of every known list of weights."""
    found = {place(key).block for key in keys}
    numbered = [sorted(name for name in found if re.fullmatch(rf"{kind}\d+", name)) for kind in ("IN", "M", "OUT")]
    return (BASE, *(name for names in numbered for name in names))


def slot(where: Place, names: Sequence[str], convention: str) -> str:
    """Return the name whose number a tensor takes.

    webui (bbc-mc, meh, SuperMerger): time and label embeddings go with IN00, the head with the last OUT.
    mecha (sd-mecha): the embeddings go with BASE. Both: text encoders and VAE with BASE.
    """
    if where.block in names:
        return where.block
    if where.block == "HEAD":
        return names[-1]
    if where.block in ("TIME", "LABEL") and convention == "webui":
        return names[1]
    return BASE


def block_weights(
    numbers: Sequence[float] | str, names: Sequence[str], *, base: float | None, convention: str
) -> BlockWeights:
    """Bind numbers, or a preset, to blocks; `base` is the weight of BASE where the list leaves it out."""
    if convention not in CONVENTIONS:
        raise unknown("block convention", convention, CONVENTIONS)
    count = len(names)
    if isinstance(numbers, str):
        if numbers not in PRESETS:
            raise unknown("preset of block weights", numbers, PRESETS)
        numbers = preset(numbers, count - 1)
    if len(numbers) == count and base is not None:
        raise Refused(f"{count} block weights begin with the one of BASE; give them or base=, not both")
    if len(numbers) == count - 1:
        numbers = [0.0 if base is None else base, *numbers]
    if len(numbers) != count:
        raise Refused(_wrong_count(len(numbers), names))
    return BlockWeights(dict(zip(names, map(float, numbers), strict=True)), convention)


def slip(numbers: Sequence[float]) -> list[float] | None:
    """Return the reading of 26 numbers in which "0, 1" was meant as 0.1 and the list had 25, if that fits.

    The list that Myne Factory published has 26 entries because "0.1" became "0,1"; the list it
    came from (AOM2, 25 numbers) rises smoothly there.
    """
    for i in range(1, len(numbers) - 2):
        before, after = numbers[i - 1], numbers[i + 2]
        if (numbers[i], numbers[i + 1]) == (0.0, 1.0) and before == 0.0 and 0.1 < after < 1.0:
            return [*numbers[:i], 0.1, *numbers[i + 2 :]]
    return None


def _wrong_count(count: int, names: Sequence[str]) -> str:
    text = f"{count} block weights; this family takes {len(names)} ({names[0]}, {names[1]} ... {names[-1]}) or "
    text += f"{len(names) - 1} with base=..."
    if count in (25, 26) and len(names) == 20:
        text += "; a list for SD1 has no exact reading here (SuperMerger drops IN09-11 and OUT09-11)"
    return text
