"""From a formula's tree to one combination per tensor: names, components, block weights and spaces resolved."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from enogu.core.networks.keys import COMPONENTS, TEXT_ENCODERS, Place
from enogu.core.records.errors import Refused, unknown
from enogu.merge.algebra import Combination, Model
from enogu.merge.binding import Value, bind, read_options
from enogu.merge.blocks import block_weights
from enogu.merge.method import Method, Space, find
from enogu.merge.syntax import Call, Chain, Expression, Formula, Items, Name, Number, Part, Text

PARTS: Mapping[str, tuple[str, ...]] = {**{name: (name,) for name in COMPONENTS}, "te": TEXT_ENCODERS}


@dataclass
class Meaning:
    """A formula bound to its models and to one place of the network."""

    formula: Formula
    models: tuple[str, ...]
    blocks: tuple[str, ...]
    where: Place

    def __post_init__(self) -> None:
        """Compute the steps in order, then the result; no terms in it means: the formula does not say."""
        self._steps: dict[str, Value] = {}
        for name, expression in self.formula.steps:
            if name in self.models or name in self._steps:
                raise Refused(f"step {name!r} has the name of a model or an earlier step; rename it")
            self._steps[name] = self._value(expression)
        self.result = self._combination(self._value(self.formula.result))
        if self.result.terms and not self.result.is_weight:
            raise Refused(_not_a_weight(self.result, self.where))

    def _value(self, expression: Expression) -> Value:
        match expression:
            case Number(number):
                return number
            case Text(text):
                return text
            case Items(items):
                return tuple(self._value(item) for item in items)
            case Name(name):
                return self._named(name)
            case Part(whole, component):
                if component not in PARTS:
                    raise unknown("component", component, PARTS)
                value = self._combination(self._value(whole))
                return value if self.where.component in PARTS[component] else Combination()
            case Chain(first, rest):
                joined = self._value(first)
                for sign, right in rest:
                    joined = self._join(sign, joined, self._value(right))
                return joined
            case Call():
                return self._call(expression)

    def _named(self, name: str) -> Value:
        if name in self._steps:
            return self._steps[name]
        if name in self.models:
            return Combination(((Model(name), 1.0),))
        raise unknown("model or step", name, [*self.models, *self._steps])

    def _combination(self, value: Value) -> Combination:
        if isinstance(value, str) and value in self.models:
            return Combination(((Model(value), 1.0),))
        if not isinstance(value, Combination):
            raise Refused(f"expected a model where the formula has {value!r}")
        return value

    def _join(self, sign: str, left: Value, right: Value) -> Value:
        if isinstance(left, float) and isinstance(right, float):
            return _compute(sign, left, right)
        if isinstance(left, float) and sign == "*":
            return self._combination(right) * left
        if isinstance(right, float) and sign == "*":
            return self._combination(left) * right
        if isinstance(right, float) and sign == "/" and right != 0.0:
            return self._combination(left) / right
        if isinstance(left, float) or isinstance(right, float) or sign not in "+-":
            raise Refused(f"cannot compute {_show(left)} {sign} {_show(right)}")
        return self._combination(left) + self._combination(right) * (1.0 if sign == "+" else -1.0)

    def _call(self, call: Call) -> Value:
        values = [self._value(argument) for argument in call.arguments]
        options = {name: self._value(value) for name, value in call.options}
        if call.method in BUILT_IN:
            return BUILT_IN[call.method](self, values, options)
        return self._apply(find(call.method), values, options)

    def _apply(self, method: Method, values: Sequence[Value], options: Mapping[str, Value]) -> Combination:
        tensors = [item for value in values if not isinstance(value, float) for item in self._models(value)]
        numbers = [value for value in values if isinstance(value, float)]
        bound = read_options(method, numbers, options)
        if not any(tensor.terms for tensor in tensors):
            return Combination()
        (first, *rest) = method.slots
        if not rest and first.many and first.space is Space.DELTA and tensors[0].is_weight:
            base = tensors[0]
            deltas = [tensor - base if tensor.is_weight else tensor for tensor in tensors[1:]]
            return base + bind(method, deltas, bound)
        return bind(method, tensors, bound)

    def _models(self, value: Value) -> Iterator[Combination]:
        if isinstance(value, tuple):
            for item in value:
                yield from self._models(item)
        elif isinstance(value, str) and value not in self.models:
            names = [name for name in self.models if fnmatchcase(name, value)]
            if not names:
                raise unknown("model", value, self.models)
            yield from (self._combination(name) for name in names)
        else:
            yield self._combination(value)


def _amplify(meaning: Meaning, values: Sequence[Value], options: Mapping[str, Value]) -> Value:
    """Scale a value and take it for a weight whatever its coefficients sum to."""
    if not 1 <= len(values) <= 2 or options or not isinstance(values[-1], float | Combination):
        raise Refused("amplify(value, factor) takes a value and a number")
    factor = values[1] if len(values) == 2 else 1.0
    if not isinstance(factor, float):
        raise Refused("amplify(value, factor): the factor must be a number")
    scaled = meaning._combination(values[0]) * factor
    return Combination(scaled.terms, scaled.declared + (1.0 - scaled.space)) if scaled.terms else scaled


def _blocks(meaning: Meaning, values: Sequence[Value], options: Mapping[str, Value]) -> float:
    """Return the number of a list, or of a preset, for the block at hand."""
    base, convention = options.get("base"), options.get("convention", "webui")
    extra = options.keys() - {"base", "convention"}
    if extra:
        raise unknown("option of block weights", min(extra), ["base", "convention"])
    if len(values) != 1 or not isinstance(values[0], tuple | str) or not isinstance(base, float | None):
        raise Refused("block weights are one list of numbers or the name of a preset")
    if isinstance(values[0], tuple) and not all(isinstance(number, float) for number in values[0]):
        raise Refused("block weights must be numbers")
    numbers = values[0] if isinstance(values[0], str) else [float(str(number)) for number in values[0]]
    return block_weights(numbers, meaning.blocks, base=base, convention=str(convention)).at(meaning.where)


def _mbw(meaning: Meaning, values: Sequence[Value], options: Mapping[str, Value]) -> Value:
    """Merge block-weighted: (1 - w) a + w b with one w per block (bbc-mc, sdweb-merge-block-weighted-gui)."""
    if len(values) != 3:
        raise Refused("mbw(a, b, [numbers]) takes two models and one list of block weights")
    weight = _blocks(meaning, values[2:], options)
    return meaning._combination(values[0]) * (1.0 - weight) + meaning._combination(values[1]) * weight


BUILT_IN: Mapping[str, Callable[[Meaning, Sequence[Value], Mapping[str, Value]], Value]] = {
    "amplify": _amplify,
    "blocks": _blocks,
    "mbw": _mbw,
}


def _compute(sign: str, left: float, right: float) -> float:
    if sign == "/" and right == 0.0:
        raise Refused(f"cannot divide {left:g} by zero")
    return {"+": left + right, "-": left - right, "*": left * right, "/": left / (right or 1.0)}[sign]


def _show(value: Value) -> str:
    return f"({value})" if isinstance(value, Combination) else repr(value)


def _not_a_weight(result: Combination, where: Place) -> str:
    at = f" (at {where.block or where.component})"
    if result.is_delta:
        return f"the result is a difference of models, not a model{at}; add it to one: BASE + ({result})"
    return (
        f"the coefficients of {result} sum to {result.space:g}, not to 1{at}; for an average divide by "
        f"{result.space:g}, to add what a model learnt write a + (b - ancestor), "
        "to amplify on purpose write amplify(...)"
    )
