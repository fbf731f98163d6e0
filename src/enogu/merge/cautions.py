"""What a maker should hear before a merge: misread lists of block weights, idle steps, bases in lists."""

from collections.abc import Iterator, Sequence

from enogu.merge.method import Space, catalogue
from enogu.merge.syntax import Call, Chain, Expression, Formula, Items, Name, Number, Text, walk


def cautions(formula: Formula) -> Iterator[str]:
    """Yield all warnings that a formula's text alone gives cause for."""
    yield from misread_weights(formula)
    yield from unused_steps(formula)
    yield from listed_bases(formula)


def misread_weights(formula: Formula) -> Iterator[str]:
    """Yield a warning for every list of block weights that has a likelier reading than the literal one."""
    orders = {
        value.text
        for item in formula.walk()
        if isinstance(item, Call)
        for name, value in item.options
        if name == "order" and isinstance(value, Text)
    }
    for item in formula.walk():
        numbers = _numbers(item)
        if other := slip(numbers):
            yield (
                "26 block weights with '0, 1' where 0.1 would fit. As they stand the first, "
                f"{numbers[0]:g}, is BASE (text encoders) and OUT05 takes {numbers[19]:g}; "
                f"if the list was meant as 25 numbers, write {_shown(other)}, base=0"
            )
        if not orders and _base_fits_last(numbers):
            yield (
                "20 block weights whose zeros fall on IN00, IN03, IN06 and M00 (convolution in, downsampling, "
                "middle) only if BASE comes last; as they stand BASE comes first. Write order='base-last' for the "
                "other reading, order='base-first' to keep this one"
            )


def unused_steps(formula: Formula) -> Iterator[str]:
    """Yield a warning for every step that neither the result nor a step of it uses."""
    used = _names(formula.result)
    for name, expression in reversed(formula.steps):
        used |= _names(expression) if name in used else set()
    yield from (f"the step {name!r} is not used" for name, _ in formula.steps if name not in used)


def listed_bases(formula: Formula) -> Iterator[str]:
    """Yield a warning for every base that is in the list of models whose differences from it are merged."""
    steps = {name for name, _ in formula.steps}  # may be differences already
    for item in formula.walk():
        if isinstance(item, Call) and _takes_differences(item.method):
            named = [set(_called(argument)) - steps for argument in item.arguments]
            for base in sorted(set().union(*named[:1]) & set().union(*named[1:])):
                yield (
                    f"{item.method}(): its base {base} is in its list, too; the difference from itself is nothing and "
                    "thins out the others: leave it out"
                )


def slip(numbers: Sequence[float]) -> list[float] | None:
    """Return the reading of 26 numbers in which "0, 1" was meant as 0.1 and the list had 25, if that fits.

    The list that Myne Factory published has 26 entries because "0.1" became "0,1"; the list it
    came from (AOM2, 25 numbers) rises smoothly there.
    """
    for i in range(1, len(numbers) - 2 if len(numbers) == 26 else 0):
        before, after = numbers[i - 1], numbers[i + 2]
        if (numbers[i], numbers[i + 1]) == (0.0, 1.0) and before == 0.0 and 0.1 < after < 1.0:
            return [*numbers[:i], 0.1, *numbers[i + 2 :]]
    return None


def _names(expression: Expression) -> set[str]:
    return {item.name for item in walk(expression, options=True) if isinstance(item, Name)}


def _takes_differences(name: str) -> bool:
    slots = catalogue()[name].slots if name in catalogue() else ()
    return len(slots) == 1 and slots[0].many and slots[0].space is Space.DELTA


def _called(expression: Expression) -> list[str]:
    match expression:
        case Name(name) | Text(name):
            return [name]
        case Items(items):
            return [name for item in items for name in _called(item)]
    return []


def _base_fits_last(numbers: Sequence[float]) -> bool:
    """Return whether 20 numbers look like those of Kohaku XL Gamma: zeros where an UNet has no transformer."""
    still, moving = (0, 3, 6, 9), (1, 2, 4, 5, 7, 8)
    return len(numbers) == 20 and not any(numbers[i] for i in still) and all(numbers[i] for i in moving)


def _numbers(item: Expression) -> list[float]:
    """Return the numbers of a list, or nothing if it holds anything else."""
    if not isinstance(item, Items):
        return []
    found = [_number(each) for each in item.items]
    return [number for number in found if number is not None] if None not in found else []


def _number(item: Expression) -> float | None:
    match item:
        case Number(value):
            return value
        case Chain(Number(-1.0), (("*", Number(value)),)):
            return -value
    return None


def _shown(numbers: Sequence[float]) -> str:
    return f"[{', '.join(f'{number:g}' for number in numbers)}]"
