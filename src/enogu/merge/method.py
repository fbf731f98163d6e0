"""What a merge method is: a pure function whose annotations say which spaces it takes and gives."""

import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib import import_module
from typing import Annotated, Any, Literal, Protocol, get_args, get_origin, get_type_hints

from torch import Tensor

from enogu.core.records.errors import unknown

PACKAGE = "enogu.merge.methods"


class Space(Enum):
    """The kinds of value: weights, differences of weights, or either as long as all agree."""

    WEIGHT = "weight"
    DELTA = "delta"
    ALIKE = "alike"


Weight = Annotated[Tensor, Space.WEIGHT]
Delta = Annotated[Tensor, Space.DELTA]
Alike = Annotated[Tensor, Space.ALIKE]
Weights = Annotated[Sequence[Tensor], Space.WEIGHT]
Deltas = Annotated[Sequence[Tensor], Space.DELTA]
Alikes = Annotated[Sequence[Tensor], Space.ALIKE]
Grain = Literal["linear", "element", "row", "tensor"]


class Pieces(Protocol):
    """The arguments, piece by piece; each call is another pass.

    A piece may be changed, but not by a linear method, and is gone when the next one comes.
    """

    def __call__(self, *, sample: bool = False) -> Iterator[list[Tensor]]:
        """Yield all pieces, or short ones from all over the tensor."""


@dataclass(frozen=True)
class Survey:
    """What a method asks of all tensors before the first is merged: `look` at each, `settle` what all said together."""

    look: Callable[..., Tensor]
    settle: Callable[[Tensor], Any]


@dataclass(frozen=True)
class Foresight:
    """How a method that keeps the largest elements of differences is computed before its cuts are known exactly.

    `share` tells by the options how much is kept. `look`, given options, halves, bounds of the cuts and room for
    what it finds, does what `loops.elect_between` does.
    """

    share: Callable[[Mapping[str, Any]], float]
    look: Callable[..., tuple[int, Any, bool]]


@dataclass(frozen=True)
class Slot:
    """One tensor argument, or a list of them."""

    name: str
    space: Space
    many: bool


@dataclass(frozen=True)
class Method:
    """A merge method as the engine sees it.

    `grain` is what must stay together: nothing for "linear" (called on combinations, once all is
    measured, so that it fuses with what is around it) and "element" (called on flat pieces), whole
    rows of the last axes, or the tensor. `measure` looks at all pieces first; its answer arrives as
    `measured`, that of a `survey` of all tensors as `surveyed`. `foresight` saves the first look.
    A parameter `elements` receives the positions of a piece, for randomness.
    """

    function: Callable[..., Any]
    grain: Grain
    measure: Callable[..., Any] | None
    foresight: Foresight | None
    survey: Survey | None
    slots: tuple[Slot, ...]
    returns: Space
    options: Mapping[str, Any]
    wants: frozenset[str]

    @property
    def name(self) -> str:
        """Return the name in formulas."""
        return self.function.__name__

    @property
    def summary(self) -> str:
        """Return the docstring's first line: what it does and its source."""
        return (self.function.__doc__ or "").split("\n")[0]

    def grouped(self, tensors: Sequence[Any]) -> list[Any]:
        """Return the arguments of a call: those of a list as one."""
        single = sum(not slot.many for slot in self.slots)
        return [*tensors[:single], *([list(tensors[single:])] if single < len(self.slots) else [])]

    def __hash__(self) -> int:
        """Hash by function."""
        return hash(self.function)

    def __eq__(self, other: object) -> bool:
        """Compare by function."""
        return isinstance(other, Method) and self.function is other.function

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the function."""
        return self.function(*args, **options)


def method(
    *,
    grain: Grain,
    measure: Callable[..., Any] | None = None,
    foresight: Foresight | None = None,
    survey: Survey | None = None,
) -> Callable[[Callable[..., Any]], Method]:
    """Make a function a method; its spaces and options are read from its signature."""

    def wrap(function: Callable[..., Any]) -> Method:
        hints = get_type_hints(function, include_extras=True)
        slots, options, wants = [], {}, set()
        for name, parameter in inspect.signature(function).parameters.items():
            if get_origin(hints[name]) is Annotated:
                sequence, space = get_args(hints[name])
                slots.append(Slot(name, space, many=sequence is not Tensor))
            elif parameter.default is inspect.Parameter.empty:
                wants.add(name)
            else:
                options[name] = parameter.default
        returns = get_args(hints["return"])[1]
        return Method(function, grain, measure, foresight, survey, tuple(slots), returns, options, frozenset(wants))

    return wrap


@cache
def catalogue() -> Mapping[str, Method]:
    """Return every method of the folder methods/ by name."""
    folder = import_module(PACKAGE)
    modules = (import_module(f"{PACKAGE}.{info.name}") for info in pkgutil.iter_modules(folder.__path__))
    found = [value for module in modules for value in vars(module).values() if isinstance(value, Method)]
    return {item.name: item for item in sorted(found, key=lambda item: item.name)}


def find(name: str) -> Method:
    """Return a method by name, or refuse with the nearest name."""
    if name not in catalogue():
        raise unknown("method", name, catalogue())
    return catalogue()[name]
