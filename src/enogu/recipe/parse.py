"""From TOML values to typed values: `build(shape, table, where)`; a refusal holds one line per problem."""

import dataclasses
import math
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from enogu.core.records.errors import Refused, unknown
from enogu.recipe.problems import Problems, prefixed

T = TypeVar("T")
SPOKEN = {int: "a whole number", float: "a number", str: "a string", bool: "true or false", Path: "a path (a string)"}


def build(shape: type[T], table: Mapping[str, Any], where: str) -> T:
    """Return the dataclass `shape` filled from a table, or refuse with every problem found."""
    fields = {field.name: field for field in dataclasses.fields(shape)}  # type: ignore[arg-type]
    hints = get_type_hints(shape, include_extras=True)
    problems, values = Problems(), {}
    for key, value in table.items():
        with problems.noted():
            if key not in fields:
                raise Refused(f"{where}: {unknown('key', key, fields)}")
            values[key] = convert(value, hints[key], f"{where}.{key}")
    for name, field in fields.items():
        with problems.noted():
            if name not in table and field.default is field.default_factory is dataclasses.MISSING:
                raise Refused(f"{where}: the key {name!r} is missing; expected {spoken(hints[name])}")
    problems.settle()
    with prefixed(f"{where}: "):
        return shape(**values)


def convert(value: Any, hint: Any, where: str) -> Any:
    """Return a TOML value as the type `hint`, or refuse it by its full name."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return convert(value, arguments[0], where)
    if origin in (Union, types.UnionType):
        return _union(value, hint, where)
    if origin is Literal:
        return _literal(value, arguments, where)
    if origin is tuple:
        return _tuple(_expect(value, list, where, hint=hint), arguments, where)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(_expect(value, dict, where, hint=hint), arguments[1], where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build(hint, _expect(value, dict, where, hint=hint), where)
    return _scalar(value, hint, where)


def spoken(hint: Any) -> str:
    """Return a type in plain words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return spoken(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(spoken(arm) for arm in arguments if arm is not type(None))
    if origin is Literal:
        return "one of " + ", ".join(map(repr, arguments))
    if origin is tuple:
        return f"a list ({spoken(arguments[0])} each)"
    if dataclasses.is_dataclass(hint) or origin is not None:
        return "a table"
    return SPOKEN.get(hint, getattr(hint, "__name__", str(hint)))


def _expect(value: Any, kind: type[T], where: str, *, hint: Any) -> T:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _unfit(value, hint, where)
    return value


def _unfit(value: Any, hint: Any, where: str) -> Refused:
    shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
    return Refused(f"{where}: expected {spoken(hint)}, got {shown}")


def _scalar(value: Any, hint: Any, where: str) -> Any:
    if hint is Any:
        return value
    if hint is float and type(value) is int:
        return float(value)
    if hint is Path:
        return Path(_expect(value, str, where, hint=hint))
    if isinstance(value, float) and not math.isfinite(value):
        raise Refused(f"{where} = {value}: give a finite number")
    return _expect(value, hint, where, hint=hint)


def _union(value: Any, hint: Any, where: str) -> Any:
    inner: list[Refused] = []
    for arm in get_args(hint):
        try:
            return convert(value, arm, where)
        except Refused as problem:
            if not str(problem).startswith(f"{where}: expected"):  # the right arm, with a problem inside
                inner.append(problem)
    raise inner[0] if inner else _unfit(value, hint, where)


def _literal(value: Any, choices: tuple[Any, ...], where: str) -> Any:
    if value not in choices:
        raise Refused(f"{where}: {unknown('value', str(value), map(str, choices))}")
    return value


def _mapping(table: dict[str, Any], hint: Any, where: str) -> dict[str, Any]:
    problems, done = Problems(), {}
    for key, item in table.items():
        with problems.noted():
            done[key] = convert(item, hint, f"{where}.{key}")
    problems.settle()
    return done


def _tuple(items: list[Any], hints: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if hints[-1] is ...:
        hints = hints[:1] * len(items)
    if len(hints) != len(items):
        raise Refused(f"{where}: expected {len(hints)} values, got {len(items)}")
    problems, done = Problems(), []
    for index, (item, hint) in enumerate(zip(items, hints, strict=True)):
        with problems.noted():
            done.append(convert(item, hint, f"{where}[{index}]"))
    problems.settle()
    return tuple(done)
