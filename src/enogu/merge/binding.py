"""Arguments of a formula's call bound to a method: counts, spaces and options are checked here."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias, Union

from enogu.core.records.errors import Refused, unknown
from enogu.merge.algebra import Applied, Combination
from enogu.merge.method import Method, Slot, Space
from enogu.merge.rehearsal import rehearse

SHARES = ("keep", "drop", "outliers")  # options that are shares of 1, in every method that has them
COUNTS = ("rank",)  # options that count something
Value: TypeAlias = Union[float, str, Combination, tuple["Value", ...]]  # noqa: UP007 - the name is quoted


def bind(method: Method, tensors: list[Combination], options: Mapping[str, float | str]) -> Combination:
    """Apply a method to combinations: at once if it is linear and asks nothing, as a node for the engine if not.

    Lists have no order: they are sorted, so that no order in a formula or a folder changes a byte.
    """
    single = [slot for slot in method.slots if not slot.many]
    many = len(single) < len(method.slots)
    if len(tensors) < len(method.slots) or (len(tensors) > len(single) and not many):
        wanted = ", ".join(slot.name + ("..." if slot.many else "") for slot in method.slots)
        raise Refused(f"{method.name}({wanted}) was given {len(tensors)} models")
    tensors = [*tensors[: len(single)], *sorted(tensors[len(single) :], key=lambda tensor: tensor.spelling)]
    slots = [*single, *(method.slots[-1:] * (len(tensors) - len(single)))]
    for slot, tensor in zip(slots, tensors, strict=True):
        _check(method, slot, tensor)
    if method.returns is Space.ALIKE and len({tensor.is_weight for tensor in tensors}) > 1:
        raise Refused(f"{method.name}() takes weights or differences, not both at once")
    if method.grain == "linear" and method.measure is None:
        result = method(*method.grouped(tensors), **options)
        assert isinstance(result, Combination)
        return result
    rehearse(method, tuple(sorted(options.items())))
    is_weight = tensors[0].is_weight if method.returns is Space.ALIKE else method.returns is Space.WEIGHT
    node = Applied(method, tuple(tensors), tuple(sorted(options.items())), float(is_weight))
    return Combination(((node, 1.0),))


def _check(method: Method, slot: Slot, tensor: Combination) -> None:
    fits = {
        Space.WEIGHT: tensor.is_weight,
        Space.DELTA: tensor.is_delta,
        Space.ALIKE: tensor.is_weight or tensor.is_delta,
    }
    if not fits[slot.space]:
        wanted = {"weight": "a weight", "delta": "a difference"}.get(slot.space.value, "a weight or a difference")
        raise Refused(
            f"{method.name}(): {slot.name} takes {wanted}; {tensor} has coefficients that sum to {tensor.space:g}"
        )


def read_options(method: Method, numbers: Sequence[float], given: Mapping[str, Value]) -> dict[str, float | str]:
    """Return every option of a method: numbers in the order of its signature, names, defaults."""
    if len(numbers) > len(method.options):
        known = ", ".join(method.options) or "none"
        raise Refused(f"{method.name}() was given {len(numbers)} numbers; its options are: {known}")
    placed = dict(zip(method.options, numbers, strict=False))
    if twice := placed.keys() & given.keys():
        raise Refused(f"{method.name}() is given {min(twice)} twice: as a number after the models and by name")
    options = placed | dict(given)
    for name, value in options.items():
        if name not in method.options:
            raise unknown(f"option of {method.name}()", name, method.options)
        if not isinstance(value, type(method.options[name])):
            said = repr(value) if isinstance(value, str) else str(value)
            raise Refused(f"{method.name}(): {name} takes {_kind(method.options[name])}, not {said}")
        if name in SHARES and isinstance(value, float) and not 0.0 <= value <= 1.0:
            raise Refused(f"{method.name}(): {name} is {value:g}; it is a share from 0 to 1: for a fifth write 0.2")
        if name in COUNTS and isinstance(value, float) and not (value >= 1.0 and value.is_integer()):
            raise Refused(f"{method.name}(): {name} is {value:g}; it is a whole number from 1 on")
    return {**method.options, **options}


def _kind(default: float | str) -> str:
    return "a quoted word" if isinstance(default, str) else f"a number (its default is {default:g})"
