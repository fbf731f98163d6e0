"""Which tensors each number of a list of block weights hits, for a plan to show."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from enogu.merge.blocks import BlockWeights, block_names
from enogu.merge.meaning import Meaning
from enogu.merge.parts import BLOCK_WORDS, SOME_UNET_KEY
from enogu.merge.plan import Plan
from enogu.merge.syntax import Call, parse
from enogu.merge.wording import worded
from enogu.merge.words import weights_of

RULE = "rule "
SHOWN = 80  # characters of a call
STEM = re.compile(
    r"(?:model\.diffusion_model\.)?((?:input_blocks|middle_block|output_blocks|conditioner\.embedders)\.\d+|[a-z_]+)"
)
MANY = 6  # places that a line names


@dataclass(frozen=True)
class Hit:
    """One number: the list that it stands in, its slot or rule, its value, how many tensors take it and where."""

    call: str
    slot: str
    number: float
    tensors: int
    elements: int
    where: tuple[str, ...]


def hits(plan: Plan) -> Iterator[Hit]:
    """Yield every number of every list of block weights in a formula; those that hit nothing too."""
    formula = parse(plan.config.formula)
    shapes = {item.key: item.spec for item in plan.kept.values()}
    blocks = block_names(shapes)
    adapters = frozenset(plan.sources) - frozenset(plan.models)
    meaning = Meaning(formula, (*plan.models, *adapters), blocks, SOME_UNET_KEY, adapters)
    for item in dict.fromkeys(formula.walk()):
        if isinstance(item, Call) and item.method in BLOCK_WORDS:
            weights = weights_of(item.method, meaning.arguments(item), meaning.options(item), here=meaning.here)
            if weights:
                yield from _hits(worded(item), weights, plan)


def _hits(call: str, weights: BlockWeights, plan: Plan) -> Iterator[Hit]:
    by_slot: dict[str, list[str]] = {name: [] for name in weights.weights}
    by_slot |= {f"{RULE}{rule.text}": [] for rule in weights.rules}
    for key, item in plan.kept.items():
        if (item.action != "merged" and "policy" in item.why) or "never" in item.why:
            continue
        slot = weights.slot(key)
        rules = [rule for rule in weights.rules if rule.hits(key, slot)]
        name = f"{RULE}{rules[-1].text}" if rules else slot
        if name in by_slot:
            by_slot[name].append(key)
    numbers = {**weights.weights, **{f"{RULE}{rule.text}": rule.value for rule in weights.rules}}
    for name, keys in by_slot.items():
        elements = sum(math.prod(plan.kept[key].spec.shape) for key in keys)
        yield Hit(call, name, numbers[name], len(keys), elements, tuple(_stems(keys)))


def idle_rules(plan: Plan) -> Iterator[str]:
    """Yield a warning for every element rule that no tensor takes its number from."""
    for hit in hits(plan):
        if hit.slot.startswith(RULE) and not hit.tensors:
            yield f"the rule {hit.slot.removeprefix(RULE)!r} hits no tensor"


def lines(plan: Plan) -> Iterator[str]:
    """Yield the lists of block weights of a formula as lines, one per number."""
    for call, numbers in groupby(hits(plan), key=lambda hit: hit.call):
        yield f"block weights of {call if len(call) <= SHOWN else call[:SHOWN] + '...'}"
        for hit in numbers:
            told = f"{hit.tensors:>5,} tensors {hit.elements / 1e6:>8,.1f} M  {', '.join(hit.where)}"
            yield f"  {hit.slot:<6} {hit.number:>8.6g}  {told if hit.tensors else 'hits nothing'}"


def _stems(keys: Iterable[str]) -> list[str]:
    found = list(dict.fromkeys(match[1] for key in keys if (match := STEM.match(key))))
    return found if len(found) <= MANY else [*found[:MANY], f"and {len(found) - MANY} more"]
