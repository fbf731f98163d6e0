"""What a formula means for one tensor: a linear combination of models and of what methods make of them."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from enogu.merge.method import Method
from enogu.merge.wording import spelt

LONGEST = 10_000  # characters of a call that are written out: steps that build on one another double with each
TOLERANCE = 1e-6  # coefficients such as 0.1 + 0.2 + 0.7 do not sum to 1 exactly


@dataclass(frozen=True)
class Model:
    """The tensor of one input file: a checkpoint's weight (space 1), or what an adapter adds to one (space 0)."""

    name: str
    space: float = 1.0

    @property
    def spelling(self) -> str:
        """Return the name, and whether it is what is added."""
        return self.name if self.space else f"{self.name}+"

    def __str__(self) -> str:
        """Return the name as a maker would write it."""
        return spelt(self.name)


@dataclass(frozen=True, eq=False)
class Applied:
    """A method over combinations; equal ones are one and are computed once."""

    method: Method
    tensors: "tuple[Combination, ...]"
    options: tuple[tuple[str, float | str], ...]
    space: float

    @cached_property
    def spelling(self) -> str:
        """Return the call in one exact spelling, or the hash of that; terms are ordered by it."""
        parts = [tensor.spelling for tensor in self.tensors] + [f"{k}={v!r}" for k, v in self.options]
        text = f"{self.method.name}({', '.join(parts)})"
        return text if len(text) <= LONGEST else f"{self.method.name}#{hashlib.sha256(text.encode()).hexdigest()}"

    @cached_property
    def differing(self) -> tuple[str, ...]:
        """Return a base and the models whose differences from it are the tensors; nothing if they are not such."""
        pairs = [{factor: node for node, factor in tensor.terms if node.space == 1.0} for tensor in self.tensors]
        if any(
            len(tensor.terms) != 2 or set(pair) != {1.0, -1.0} for tensor, pair in zip(self.tensors, pairs, strict=True)
        ):
            return ()
        bases, others = {pair[-1.0] for pair in pairs}, [pair[1.0] for pair in pairs]
        names = [node.name for node in [*bases, *others] if isinstance(node, Model)]
        return tuple(names) if len(bases) == 1 and len(names) == 1 + len(others) else ()

    def __eq__(self, other: object) -> bool:
        """Compare spellings: field by field would visit a step as often as later ones use it."""
        return isinstance(other, Applied) and (self.spelling, self.method) == (other.spelling, other.method)

    def __hash__(self) -> int:
        """Return the hash of the spelling."""
        return hash(self.spelling)

    @cached_property
    def _text(self) -> str:
        changed = [(k, v) for k, v in self.options if v != self.method.options[k]]
        options = [f"{k}={v:.6g}" if isinstance(v, float) else f"{k}={v!r}" for k, v in changed]
        text = f"{self.method.name}({', '.join([*map(str, self.tensors), *options])})"
        return text if len(text) <= LONGEST else f"{self.method.name}(...)"

    def __str__(self) -> str:
        """Return the call as a maker would write it."""
        return self._text


@dataclass(frozen=True)
class Adapted:
    """What an adapter adds to a weight where that depends on the weight, as in DoRA."""

    adapter: str
    weight: "Combination"
    measured: bool  # whether all of the weight must be seen first

    @property
    def space(self) -> float:
        """Return 0: this is a difference."""
        return 0.0

    @property
    def spelling(self) -> str:
        """Return the adapter, the weight and how it is seen in one exact spelling."""
        return f"{self.adapter}[{self.weight.spelling}]{'*' * self.measured}"

    def __str__(self) -> str:
        """Return the adapter's name."""
        return self.adapter


Node = Model | Applied | Adapted


@dataclass(frozen=True, eq=False)
class Combination:
    """Coefficients by node, ordered by spelling, so that the order in a formula never changes a byte.

    `declared` is what the maker's word adds to the sum of the coefficients, as in `amplify(1.1*a)`.
    """

    terms: tuple[tuple[Node, float], ...] = ()
    declared: float = 0.0

    @staticmethod
    def of(coefficients: Mapping[Node, float], declared: float = 0.0) -> "Combination":
        """Order the terms and drop those that cancel."""
        kept = [(node, value) for node, value in coefficients.items() if value != 0.0]
        return Combination(tuple(sorted(kept, key=lambda term: term[0].spelling)), declared)

    def __eq__(self, other: object) -> bool:
        """Compare spellings, as calls do."""
        return isinstance(other, Combination) and (self.spelling, self.declared) == (other.spelling, other.declared)

    def __hash__(self) -> int:
        """Return the hash of the spelling."""
        return hash((self.spelling, self.declared))

    @property
    def space(self) -> float:
        """Return the sum of the coefficients: 1 for a weight, 0 for a difference."""
        return self.declared + sum(value * node.space for node, value in self.terms)

    @property
    def is_sum(self) -> bool:
        """Return whether checkpoints are added here, and nothing else is."""
        return bool(self.terms) and all(isinstance(node, Model) and node.space == 1.0 for node, _ in self.terms)

    @property
    def model(self) -> Model | None:
        """Return the checkpoint that this is, if it is just one."""
        node, factor = self.terms[0] if len(self.terms) == 1 and self.is_sum else (None, 0.0)
        return node if isinstance(node, Model) and factor == 1.0 else None

    @property
    def is_weight(self) -> bool:
        """Return whether this is a weight."""
        return abs(self.space - 1.0) <= TOLERANCE

    @property
    def is_delta(self) -> bool:
        """Return whether this is a difference of weights."""
        return abs(self.space) <= TOLERANCE

    def __add__(self, other: "Combination | float") -> "Combination":
        """Add term by term; adding the number 0 lets `sum` start."""
        if isinstance(other, int | float):
            return self
        coefficients = dict(self.terms)
        for node, value in other.terms:
            coefficients[node] = coefficients.get(node, 0.0) + value
        return Combination.of(coefficients, self.declared + other.declared)

    __radd__ = __add__

    def __sub__(self, other: "Combination") -> "Combination":
        """Subtract term by term."""
        return self + -1.0 * other

    def __mul__(self, factor: float) -> "Combination":
        """Scale every coefficient."""
        return Combination.of({node: value * factor for node, value in self.terms}, self.declared * factor)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> "Combination":
        """Divide every coefficient."""
        return Combination.of({node: value / divisor for node, value in self.terms}, self.declared / divisor)

    @cached_property
    def spelling(self) -> str:
        """Return the sum in one exact spelling."""
        return " + ".join(f"{value!r}*{node.spelling}" for node, value in self.terms)

    def __str__(self) -> str:
        """Return the sum as a maker would write it, what is added before what is taken away."""
        ordered = sorted(self.terms, key=lambda term: term[1] < 0.0)
        text = " ".join(f"{'-' if value < 0.0 else '+'} {_times(abs(value))}{node}" for node, value in ordered)
        return text.removeprefix("+ ") or "0"

    @cached_property
    def uses(self) -> Mapping[str, int]:
        """Return how often each model stands beneath."""
        found = Counter[str]()
        for node, _ in self.terms:
            if isinstance(node, Model):
                found[node.name] += 1
            elif isinstance(node, Adapted):
                found[node.adapter] += 1
                found.update(node.weight.uses)
            else:
                for tensor in node.tensors:
                    found.update(tensor.uses)
        return found

    def models(self) -> Iterator[str]:
        """Yield the name of every model beneath."""
        return iter(self.uses)

    @cached_property
    def shared(self) -> frozenset[Node]:
        """Return the calls that stand in more than one place beneath."""
        found, waiting = Counter[Node](), [self]
        while waiting:
            for node, _ in waiting.pop().terms:
                found[node] += 1
                if isinstance(node, Applied) and found[node] == 1:
                    waiting.extend(node.tensors)
        return frozenset(node for node, places in found.items() if isinstance(node, Applied) and places > 1)


def _times(value: float) -> str:
    return "" if value == 1.0 else f"{value:.6g}*"
