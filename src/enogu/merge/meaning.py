"""From a formula's tree to one combination per tensor: names, components, block weights and spaces resolved."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from enogu.core.networks.keys import COMPONENTS, TEXT_ENCODERS, Place, place
from enogu.core.records.errors import Refused, unknown
from enogu.merge.algebra import TOLERANCE, Combination
from enogu.merge.binding import Value, bind, read_options
from enogu.merge.blocks import CONVENTIONS, FITS, MIDDLE
from enogu.merge.method import Method, Space, catalogue
from enogu.merge.patterns import matching, unknown_model
from enogu.merge.presets import is_preset
from enogu.merge.rules import words_of
from enogu.merge.syntax import (
    Call,
    Chain,
    Expression,
    Formula,
    Items,
    Name,
    Number,
    Part,
    Pointed,
    Text,
    pointed,
)
from enogu.merge.wording import spelt
from enogu.merge.words import WORDS, Here, as_combination, shown

NOT_A_DELTA = "{} is no difference of models; an adapter holds what is added to one: write MODEL - BASE"
SWITCHES = {"true": "1", "false": "0", "none": "0"}
QUOTED = {*CONVENTIONS, *FITS}  # options that are one word
PARTS: Mapping[str, tuple[str, ...]] = {**{name: (name,) for name in COMPONENTS}, "te": TEXT_ENCODERS}


@dataclass(frozen=True)
class Meanings:
    """What a formula means tensor by tensor, worked out once for all tensors that it cannot tell apart."""

    formula: Formula
    models: tuple[str, ...]
    blocks: tuple[str, ...]
    adapters: frozenset[str] = frozenset()  # which of the models are differences
    delta: bool = False  # whether the result must be a difference instead of a model
    _known: dict[tuple[object, ...], Combination] = field(default_factory=dict)

    def at(self, key: str) -> Combination:
        """Return the combination for a tensor; no terms in it means: the formula does not say."""
        where, middle = place(key), MIDDLE.match(key)
        words = frozenset(word for word in self._words if word in key)
        like = (where.component, where.block, middle and middle[1], words)
        if like not in self._known:
            meaning = Meaning(self.formula, self.models, self.blocks, key, self.adapters, self.delta)
            self._known[like] = meaning.result
        return self._known[like]

    @cached_property
    def _words(self) -> set[str]:
        texts = (item.text for item in self.formula.walk(options=True) if isinstance(item, Text))
        return {word for text in texts for word in words_of(text)}


@dataclass
class Meaning:
    """A formula bound to its models and to one tensor."""

    formula: Formula
    models: tuple[str, ...]
    blocks: tuple[str, ...]
    key: str
    adapters: frozenset[str] = frozenset()
    delta: bool = False

    def __post_init__(self) -> None:
        """Compute the steps in order, then the result; no terms in it means: the formula does not say."""
        self.here, self.where = Here(self.models, self.blocks, self.key, self.adapters), place(self.key)
        self._steps: dict[str, Value] = {}
        for name, expression in self.formula.steps:
            if name in self.models or name in self._steps:
                problem = f"step {name!r} has the name of a model or an earlier step; rename it"
                raise pointed(self.formula.text, expression.at, problem)
            self._steps[name] = self.value(expression)
        self.result = self.combination(self.formula.result)
        if self.result.terms and not (self.result.is_delta if self.delta else self.result.is_weight):
            where = self.where if self._differs() else None
            problem = NOT_A_DELTA.format(self.result) if self.delta else not_a_weight(self.result, where)
            raise pointed(self.formula.text, self.formula.result.at, problem)

    def value(self, expression: Expression) -> Value:
        """Return what an expression means here, or point at what it cannot mean."""
        try:
            return self._value(expression)
        except Pointed:
            raise
        except Refused as refusal:
            raise pointed(self.formula.text, expression.at, str(refusal)) from None

    def combination(self, expression: Expression) -> Combination:
        """Return an expression that must be a model or made of models."""
        value = self.value(expression)
        try:
            return as_combination(value, self.here)
        except Refused as refusal:
            raise pointed(self.formula.text, expression.at, str(refusal)) from None

    def arguments(self, call: Call) -> list[Value]:
        """Return what the arguments of a call mean."""
        return [self.value(argument) for argument in call.arguments]

    def options(self, call: Call) -> dict[str, Value]:
        """Return what the options of a call mean."""
        return {name: self.value(value) for name, value in call.options}

    def _value(self, expression: Expression) -> Value:
        match expression:
            case Number(number):
                return number
            case Text(text):
                return text
            case Items(items):
                return tuple(self.value(item) for item in items)
            case Name(name):
                return self._named(name)
            case Part(whole, component):
                if component not in PARTS:
                    hint = "a model's name with a dot stands in quotes, without the ending of its file"
                    raise Refused(f"{unknown('component', component, PARTS)}; {hint}")
                value = self.combination(whole)
                return value if self.where.component in PARTS[component] else Combination()
            case Chain(first, rest):
                joined = self.value(first)
                for sign, right in rest:
                    joined = self._join(sign, joined, self.value(right), at=right.at)
                return joined
            case Call():
                return self._call(expression)

    def _named(self, name: str) -> Value:
        if name in self._steps:
            return self._steps[name]
        if name in self.models:
            return self.here.model(name)
        if name in (*WORDS, *catalogue()):
            raise Refused(f"{name} is a method; its arguments follow in brackets: {name}(...)")
        if name.lower() in SWITCHES:
            raise Refused(f"{name} is no word of formulas; write {SWITCHES[name.lower()]}")
        if is_preset(name) or name in QUOTED:
            raise Refused(f'{name} is a word, and words stand in quotes: "{name}"')
        raise unknown("model or step", name, [*map(spelt, self.models), *self._steps])

    def _join(self, sign: str, left: Value, right: Value, *, at: int) -> Value:
        try:
            return join(sign, left, right, here=self.here)
        except Refused as refusal:
            raise pointed(self.formula.text, at, str(refusal)) from None

    def _call(self, call: Call) -> Value:
        values, options = self.arguments(call), self.options(call)
        if call.method in WORDS:
            return WORDS[call.method](self.here, values, options)
        if call.method not in catalogue():
            raise unknown("method", call.method, [*catalogue(), *WORDS])
        return self._apply(catalogue()[call.method], values, options)

    def _apply(self, method: Method, values: Sequence[Value], options: Mapping[str, Value]) -> Combination:
        words = [name for name, default in method.options.items() if isinstance(default, str)]
        tensors = [item for value in values if not isinstance(value, float) for item in self._models(value, words)]
        numbers = [value for value in values if isinstance(value, float)]
        bound = read_options(method, numbers, options)
        if not tensors:
            return bind(method, tensors, bound)  # which says what it wants
        if not any(tensor.terms for tensor in tensors):
            return Combination()
        (first, *rest) = method.slots
        if not rest and first.many and first.space is Space.DELTA and tensors[0].is_weight:
            base = tensors[0]
            if isinstance(values[0], tuple) or (isinstance(values[0], str) and values[0] not in self.models):
                raise Refused(
                    f"{method.name}(): a list has no order, so none of its models is the base; "
                    f"write {method.name}(BASE, {shown(values[0])})"
                )
            deltas = [tensor - base if tensor.is_weight else tensor for tensor in tensors[1:]]
            return base + bind(method, deltas, bound)
        return bind(method, tensors, bound)

    def _models(self, value: Value, words: Sequence[str]) -> Iterator[Combination]:
        if isinstance(value, tuple):
            for item in value:
                yield from self._models(item, words)
        elif isinstance(value, str) and value not in self.models:
            names = matching(value, self.models)
            if not names:
                hint = f'; an option that is a word is named: {words[0]}="{value}"' if words else ""
                raise Refused(f"{unknown_model(value, self.models)}{hint}")
            yield from (as_combination(name, self.here) for name in names)
        else:
            yield as_combination(value, self.here)

    def _differs(self) -> bool:
        items = self.formula.walk(options=True)
        return any(isinstance(item, Part) or (isinstance(item, Call) and item.method in WORDS) for item in items)


def join(sign: str, left: Value, right: Value, *, here: Here) -> Value:
    """Return two values joined by one of + - * /."""
    if isinstance(left, float) and isinstance(right, float):
        return _compute(sign, left, right)
    if isinstance(left, float) and sign == "*":
        return as_combination(right, here) * left
    if isinstance(right, float) and sign == "*":
        return as_combination(left, here) * right
    if isinstance(right, float) and sign == "/" and right != 0.0:
        return as_combination(left, here) / right
    if isinstance(left, float) or isinstance(right, float) or sign not in "+-":
        raise Refused(f"cannot compute {shown(left)} {sign} {shown(right)}")
    return as_combination(left, here) + as_combination(right, here) * (1.0 if sign == "+" else -1.0)


def _compute(sign: str, left: float, right: float) -> float:
    if sign == "/" and right == 0.0:
        raise Refused(f"cannot divide {left:g} by zero")
    return {"+": left + right, "-": left - right, "*": left * right, "/": left / (right or 1.0)}[sign]


def not_a_weight(result: Combination, where: Place | None) -> str:
    """Say why a result is no model, and what was probably meant."""
    at = f" (at {where.block or where.component})" if where else ""
    if result.is_delta:
        return f"the result is a difference of models, not a model{at}; add it to one: BASE + ({result})"
    problem = f"the coefficients of {result} sum to {result.space:g}, not to 1{at}; "
    (node, first), *others = sorted(result.terms, key=lambda term: term[1] != 1.0)
    average = f"for an average divide by {result.space:g}, "
    if others and first == 1.0 and 0.0 < result.space - 1.0 < 1.0 - TOLERANCE:
        added = " + ".join(f"{value:g}*{other}" for other, value in others)
        average = f"for a weighted sum write {2.0 - result.space:g}*{node} + {added}, "
    return (
        f"{problem}{average}to add what a model learnt write a + (b - ancestor), "
        "to amplify on purpose write amplify(...)"
    )
