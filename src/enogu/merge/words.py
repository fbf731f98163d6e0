"""The language's own words: amplify, and the numbers that differ from block to block."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from enogu.core.records.errors import Refused, unknown
from enogu.merge.algebra import Combination, Model
from enogu.merge.binding import Value
from enogu.merge.blocks import BASE, VAE, BlockWeights, block_weights, slots
from enogu.merge.presets import gradient
from enogu.merge.rules import Rule, read_rules, slots_named

BLOCK_OPTIONS = ("base", "convention", "order", "fit", "rules")


@dataclass(frozen=True)
class Here:
    """Where a formula is being worked out: the models and blocks there are, and the tensor in question."""

    models: tuple[str, ...]
    blocks: tuple[str, ...]
    key: str
    adapters: frozenset[str] = frozenset()  # which of the models are differences

    def model(self, name: str) -> Combination:
        """Return a model, or what an adapter adds to one."""
        return Combination(((Model(name, 0.0 if name in self.adapters else 1.0), 1.0),))


Word = Callable[[Here, Sequence[Value], Mapping[str, Value]], Value]


def as_combination(value: Value, here: Here) -> Combination:
    """Return a value as a combination; a quoted word may name a model."""
    if isinstance(value, str) and value in here.models:
        return here.model(value)
    if isinstance(value, str):
        raise unknown("model", value, here.models)
    if not isinstance(value, Combination):
        raise Refused(f"expected a model where the formula has {shown(value)}")
    return value


def amplify(here: Here, values: Sequence[Value], options: Mapping[str, Value]) -> Value:
    """Scale a value and take it for a weight whatever its coefficients sum to."""
    if not 1 <= len(values) <= 2 or options or not isinstance(values[-1], float | str | Combination):
        raise Refused("amplify(value, factor) takes a value and a number")
    factor = values[1] if len(values) == 2 else 1.0
    if not isinstance(factor, float):
        raise Refused("amplify(value, factor): the factor must be a number")
    scaled = as_combination(values[0], here) * factor
    return Combination(scaled.terms, scaled.declared + (1.0 - scaled.space)) if scaled.terms else scaled


def weights_of(word: str, values: Sequence[Value], options: Mapping[str, Value], *, here: Here) -> BlockWeights | None:
    """Return the block weights that `mbw`, `blocks` or `gradient` is given, or nothing where that is one number."""
    if word == "mbw":
        if len(values) not in (2, 3) or (len(values) == 2 and not options):
            hint = "; the numbers stand in square brackets" if len(values) > 3 else ""
            raise Refused(f"mbw(a, b, [numbers]) takes two models and one list of block weights{hint}")
        values = values[2:]
        if values and isinstance(values[0], float) and not options:
            return None
    words = {name: _word(name, options[name]) for name in ("convention", "order", "fit") if name in options}
    names = slots(here.blocks, **{name: text for name, text in words.items() if name != "fit"})
    count = len(names) - (BASE in names)
    if word == "gradient":
        numbers: Sequence[float] | str = _gradient(values, count)
    else:
        numbers = _numbers(values, untouched=1.0 if words.get("convention") == "comfy" else 0.0, count=count)
    for name in options.keys() - set(BLOCK_OPTIONS):
        if not _is_slot(name, (*names, VAE)):
            raise unknown("option of block weights", name, [*BLOCK_OPTIONS, *names])
    named = {name: _number(value, name) for name, value in options.items() if name not in BLOCK_OPTIONS}
    base = _number(options["base"], "base") if "base" in options else None
    rules = _rules(options.get("rules", ()))
    return block_weights(numbers, here.blocks, base=base, named=named, rules=rules, **words)


def blocks(here: Here, values: Sequence[Value], options: Mapping[str, Value]) -> Value:
    """Return the number of a list, a preset or named blocks for the tensor at hand."""
    weights = weights_of("blocks", values, options, here=here)
    assert weights is not None
    return weights.at(here.key)


def gradient_word(here: Here, values: Sequence[Value], options: Mapping[str, Value]) -> Value:
    """Return the number for the tensor at hand of a line through points spread over the blocks."""
    weights = weights_of("gradient", values, options, here=here)
    assert weights is not None
    return weights.at(here.key)


def mbw(here: Here, values: Sequence[Value], options: Mapping[str, Value]) -> Value:
    """Merge block-weighted: (1 - w) a + w b with one w per block (bbc-mc, sdweb-merge-block-weighted-gui)."""
    weights = weights_of("mbw", values, options, here=here)
    weight = weights.at(here.key) if weights else _number(values[2], "mbw")
    return as_combination(values[0], here) * (1.0 - weight) + as_combination(values[1], here) * weight


WORDS: Mapping[str, Word] = {"amplify": amplify, "blocks": blocks, "gradient": gradient_word, "mbw": mbw}


def shown(value: Value) -> str:
    """Return a value as a maker would write it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Combination):
        return f"({value})" if len(value.terms) > 1 else str(value)
    return repr(value)


def _gradient(values: Sequence[Value], count: int) -> list[float]:
    given = values[0] if len(values) == 1 and isinstance(values[0], tuple) else values
    if not given:
        raise Refused("gradient(0, 0.5, 1) takes the numbers that the line goes through")
    return gradient([_number(value, "gradient()") for value in given], count)


def _numbers(values: Sequence[Value], *, untouched: float, count: int) -> Sequence[float] | str:
    match values:
        case []:
            return [untouched] * count
        case [float(number)]:
            return [number] * count
        case [str(name)]:
            return name
        case [tuple(numbers)]:
            return [_number(number, "block weights") for number in numbers]
    raise Refused("block weights are one list of numbers or the name of a preset")


def _number(value: Value, what: str) -> float:
    if not isinstance(value, float):
        raise Refused(f"{what}: must be numbers, not {shown(value)}")
    return value


def _word(name: str, value: Value) -> str:
    if not isinstance(value, str):
        raise Refused(f"{name} is a quoted word, not {shown(value)}")
    return value


def _rules(value: Value) -> list[Rule]:
    texts = value if isinstance(value, tuple) else (value,)
    return [rule for text in texts for rule in read_rules(_word("rules", text))]


def _is_slot(name: str, names: Sequence[str]) -> bool:
    try:
        return bool(slots_named(name, names))
    except Refused:
        return False
