"""Pickled checkpoints read without unpickling: a machine that knows tensors, containers and plain values.

Source: Lib/pickletools.py (the opcodes), torch/_utils.py and torch/serialization.py (what stands for a tensor). No name
in a file is ever imported or called; one that is neither a tensor's nor known training state is refused.
"""

import math
import pickletools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from io import BytesIO
from typing import Any

from enogu.core.records.errors import Refused

MAX_BYTES = 1 << 25  # of one pickle; the tensors lie elsewhere, and names and sizes take a thousandth of this
SHOWN = 6  # forbidden names in one message
Plain = str | int | float | bytes | None  # what a container's key may be


@dataclass(frozen=True)
class Named:
    """A class or function that a pickle names."""

    name: str


@dataclass
class Opaque:
    """What a pickle would have made by calling something unknown; nothing was called."""

    name: str


@dataclass(frozen=True)
class Storage:
    """Elements in a file: the name of their place, their safetensors dtype code, their count."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class Pickled:
    """A tensor as a pickle tells it: a window into a storage."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_pickle(raw: bytes, *, start: int = 0) -> tuple[Any, int]:
    """Return the value of one pickle and where it ends; refuse what no checkpoint needs, naming all of it."""
    stream, machine = BytesIO(raw), _Machine()
    stream.seek(start)
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            machine.step(opcode.name, argument)
        (result,) = machine.take(1)
    except Refused:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as problem:
        raise Refused(f"its pickle is broken: {str(problem)[:80] or type(problem).__name__}") from None
    if machine.forbidden:
        names = list(machine.forbidden)
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        raise Refused(
            f"its pickle asks to run {', '.join(names[:SHOWN])}{more}; nothing was run, and the file is not read. "
            "Ask its maker for a .safetensors file"
        )
    return result, stream.tell()


@dataclass
class _Machine:
    """The stack of a pickle; `forbidden` gathers the names that no checkpoint needs."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    forbidden: dict[str, None] = field(default_factory=dict)
    budget: int = MAX_BYTES  # pairs that may be copied into dictionaries

    def step(self, name: str, argument: Any) -> None:
        """Do what an opcode says."""
        push = self.stack.append
        match name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case _ if name in _CONSTANTS:
                push(_CONSTANTS[name])
            case _ if _LITERALS.fullmatch(name):
                push(argument)
            case "EMPTY_LIST" | "EMPTY_SET":
                push([])
            case "EMPTY_DICT":
                push({})
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                push(self.memo[argument])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                push(tuple(self.take(int(name[-1]))))
            case "APPEND":
                self.extend(self.take(1))
            case "SETITEM":
                self.put(self.take(2))
            case "GLOBAL":
                push(self.named(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                push(self.named(".".join(map(str, self.take(2)))))
            case "REDUCE" | "NEWOBJ":
                push(self.call(*self.take(2)))
            case "NEWOBJ_EX":
                push(self.call(*self.take(3)[:2]))
            case "BUILD":
                self.take(1)  # attributes of the object on top: of an OrderedDict, `_metadata`
            case "BINPERSID":
                push(_storage(*self.take(1)))
            case _:
                self._step_marked(name, argument)

    def _step_marked(self, name: str, argument: Any) -> None:
        match name:
            case "MARK":
                self.marks.append(len(self.stack))
            case "POP":
                self.take(1)
            case "POP_MARK":
                self.items()
            case "DUP":
                self.stack.append(self.stack[-1])
            case "TUPLE":
                self.stack.append(tuple(self.items()))
            case "LIST" | "FROZENSET":
                self.stack.append(self.items())
            case "DICT":
                items = self.items()
                self.stack.append({})
                self.put(items)
            case "SETITEMS":
                self.put(self.items())
            case "APPENDS" | "ADDITEMS":
                self.extend(self.items())
            case "INST":
                self.items()
                self.stack.append(Opaque(self.named(argument.replace(" ", ".")).name))
            case "OBJ":
                self.stack.append(Opaque(str(self.items()[0])))
            case _:
                raise Refused(f"its pickle uses {name}, which no checkpoint needs")

    def take(self, count: int) -> list[Any]:
        """Take values off the stack, in the order in which they came."""
        floor = self.marks[-1] if self.marks else 0
        if count > len(self.stack) - floor:
            raise IndexError("a value is missing")
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def items(self) -> list[Any]:
        """Take what lies above the last mark off the stack."""
        taken = self.take(len(self.stack) - self.marks[-1])
        self.marks.pop()
        return taken

    def named(self, name: str) -> Named:
        """Return a name that the pickle would import, as Python 3 calls it."""
        name = name.replace("__builtin__.", "builtins.").replace("copy_reg.", "copyreg.")
        if not _known(name):
            self.forbidden[name] = None
        return Named(name)

    def call(self, function: Any, arguments: Any) -> Any:
        """Return what a call stands for; nothing is called."""
        name = function.name if isinstance(function, Named) else "?"
        kind = _tables().kinds.get(name, "")
        match kind:
            case "":
                return Opaque(name)
            case "dict":
                return self._dictionary(arguments[0] if arguments else [])
            case "parameter":
                return arguments[0]
            case "subclass":
                return self.call(arguments[0], arguments[2])
        return _tensor(arguments, kind)

    def _dictionary(self, pairs: Any) -> dict[Plain, Any]:
        made: dict[Plain, Any] = {}
        pairs = pairs if isinstance(pairs, list | tuple) else []
        self.budget -= len(pairs)
        if self.budget < 0:
            raise ValueError("it copies the same values over and over")
        for key, value in pairs:
            _set(made, key, value)
        return made

    def put(self, items: list[Any]) -> None:
        """Store keys and values in the container on top."""
        for key, value in zip(items[::2], items[1::2], strict=True):
            if isinstance(self.stack[-1], dict):
                _set(self.stack[-1], key, value)

    def extend(self, items: list[Any]) -> None:
        """Append values to the container on top."""
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)


def _set(target: dict[Plain, Any], key: Any, value: Any) -> None:
    if isinstance(key, Plain):  # nothing else names a tensor, and hashing a tower of tuples would overflow the stack
        target[key] = value


def _storage(token: Any) -> Storage:
    """Return what a persistent id stands for: ("storage", type, key, location, elements, ...)."""
    if not isinstance(token, tuple) or len(token) < 5 or token[0] != "storage" or not isinstance(token[1], Named):
        raise ValueError("a reference that is no storage")
    kind, key, count = token[1].name.rpartition(".")[2], token[2], token[4]
    if kind not in _tables().storages:
        raise Refused(f"its tensors are of the kind {kind}, which enogu does not read")
    return Storage(str(key), _tables().storages[kind], _natural(count))


def _tensor(arguments: Any, kind: str) -> Pickled:
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    dtype = storage.dtype
    if kind == "v3":
        word = arguments[6].name.removeprefix("torch.")
        if word not in _tables().dtypes:
            raise Refused(f"its tensors are of the dtype {word}, which enogu does not read")
        dtype = _tables().dtypes[word]
    shape, strides = tuple(map(_natural, shape)), tuple(map(_natural, strides))
    if len(shape) != len(strides):
        raise ValueError("a tensor with another number of strides than of sides")
    return Pickled(storage, dtype, _natural(offset), shape, strides)


def _natural(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError(f"{value!r} is no size")
    return value


@dataclass(frozen=True)
class _Tables:
    storages: Mapping[str, str]
    dtypes: Mapping[str, str]
    kinds: Mapping[str, str]
    inert: re.Pattern[str]


@cache
def _tables() -> _Tables:
    table = tomllib.loads(resources.files("enogu.core.networks").joinpath("data/pickles.toml").read_text("utf-8"))
    kinds = {name: kind for part in ("tensors", "values") for kind, names in table[part].items() for name in names}
    return _Tables(table["storages"], table["dtypes"], kinds, re.compile("|".join(table["inert"]["names"])))


def _known(name: str) -> bool:
    tables = _tables()
    module, _, attribute = name.rpartition(".")
    of_torch = module in ("torch", "torch.storage") and (attribute in tables.storages or attribute in tables.dtypes)
    return of_torch or name in tables.kinds or bool(tables.inert.match(name))


def contiguous(tensor: Pickled) -> bool:
    """Return whether a tensor's elements lie one after the other."""
    step = 1
    for side, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if side != 1 and stride != step:
            return math.prod(tensor.shape) == 0
        step *= side
    return True


_CONSTANTS: Mapping[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = re.compile(
    "INT|BININT[12]?|LONG[14]?|FLOAT|BINFLOAT|BINBYTES8?|SHORT_BINBYTES|BYTEARRAY8|STRING|BINSTRING|SHORT_BINSTRING|"
    "UNICODE|(SHORT_)?BINUNICODE8?"
)
