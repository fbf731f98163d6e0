"""The house rules: imports go downwards, importing does nothing, and the budgets of the house style hold."""

import ast
import os
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
MOST_ALLOWED = 0  # entries of house_allowed.toml; lower it when one goes, never raise it

ROOMS = ("posts", "tagging", "captions", "latents", "train", "merge", "sample", "judge", "release", "mini")
CORE = ("core.records", "core.diffusion", "core.networks")
MAY_IMPORT = {
    "core.records": (),
    "core.diffusion": (),  # pure maths
    "core.networks": ("core.records",),
    **dict.fromkeys(ROOMS, CORE),
    "recipe": (*CORE, *ROOMS),
    "cli": (*CORE, *(room for room in ROOMS if room != "mini"), "recipe"),
}
# may be imported inside a function
HEAVY = {"torch", "numba", "llvmlite", "onnx", "diffusers", "transformers", "daft", "ray"}
NO_NOUN = {"utils", "util", "common", "helpers", "helper", "misc", "tools", "shared", "stuff"}
MUTATORS = {"append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "clear", "remove", "discard"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef
Breach = tuple[str, str]  # where, what


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    def functions(self) -> Iterator[tuple[str, Function]]:
        """Yield every function with its qualified name."""
        yield from _functions(self.tree, f"{self.name}:")


@cache
def modules() -> dict[str, Module]:
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        found[name] = Module(name, path, text, ast.parse(text))
    return found


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, (*FUNCTIONS, ast.ClassDef))
        if isinstance(child, FUNCTIONS):
            yield prefix + child.name, child
        yield from _functions(child, f"{prefix}{child.name}." if named else prefix)


# --- imports


def imports(module: Module) -> Iterator[tuple[str, ast.AST]]:
    """Yield the modules of the package that a module imports, or names as "MODULE:NAME" to import later."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names if alias.name.startswith("enogu"))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.name}: relative import"
            for alias in node.names if (node.module or "").startswith("enogu") else ():
                inner = f"{node.module}.{alias.name}"
                yield (inner if inner in modules() else str(node.module)), node
        elif match := re.fullmatch(r"(enogu\.[\w.]+):\w+", str(getattr(node, "value", ""))):
            yield match[1], node


def part(name: str) -> str:
    """Return the layer or room that a module belongs to; the package itself and `enogu.core` have none."""
    _, *parts = name.split(".")
    if parts == ["__main__"]:
        return "cli"
    return ".".join(parts[: 2 if parts[:1] == ["core"] else 1])


def upward_imports() -> Iterator[Breach]:
    for module in modules().values():
        here = part(module.name)
        for target, node in imports(module):
            there = part(target)
            if here and there not in ("", here, *MAY_IMPORT.get(here, ())):
                yield module.name, f"line {node.lineno}: {here} imports {target}"  # type: ignore[attr-defined]


def import_cycles() -> Iterator[Breach]:
    lazily = lambda node: isinstance(node, ast.Constant)  # noqa: E731
    edges = {
        module.name: {target for target, node in imports(module) if not lazily(node) and target != module.name}
        for module in modules().values()
    }
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        yield error.args[1][0], " -> ".join(error.args[1])


def nested_imports() -> Iterator[Breach]:
    for module in modules().values():
        for where, function in module.functions():
            for node in ast.walk(function):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
                for name in names:
                    if name.split(".")[0] not in HEAVY:
                        yield where, f"imports {name} inside"


# --- budgets


def file_length() -> Iterator[Breach]:
    for module in modules().values():
        if (length := module.text.count("\n")) > 400:
            yield module.name, f"{length} lines > 400"


def function_length() -> Iterator[Breach]:
    for module in modules().values():
        for where, function in module.functions():
            if (length := _length(function)) > 60:
                yield where, f"{length} lines > 60"


def medians() -> Iterator[Breach]:
    files = [module.text.count("\n") for module in modules().values()]
    lengths = [_length(function) for module in modules().values() for _, function in module.functions()]
    for what, value, most in (
        ("median file", statistics.median(files), 150),
        ("median function", statistics.median(lengths), 12),
        ("90th percentile of functions", statistics.quantiles(lengths, n=10)[-1], 35),
    ):
        if value > most:
            yield "enogu", f"{what}: {value:g} lines > {most}"


def parameters() -> Iterator[Breach]:
    for module in modules().values():
        for where, function in module.functions():
            names = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args)]
            positional = len(names) - (names[:1] in (["self"], ["cls"]))
            count = positional + len(function.args.kwonlyargs)
            if count > 8:
                yield where, f"{count} parameters > 8"
            if positional > 3:
                yield where, f"{positional} positional parameters: keyword-only after the third"


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


# --- state and side effects


def module_state() -> Iterator[Breach]:
    for module in modules().values():
        held = {target.id for node in module.tree.body for target in _targets(node) if isinstance(target, ast.Name)}
        for node in module.tree.body:
            names = [target.id for target in _targets(node) if isinstance(target, ast.Name)]
            for name in names:
                if _mutable(getattr(node, "value", None)) and name != "__all__" and name != name.upper():
                    yield f"{module.name}:{name}", "a mutable value at module level; a constant table is UPPER_CASE"
        for where, function in module.functions():
            local = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and _stored(node)}
            local |= {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}
            for node in ast.walk(function):
                if isinstance(node, ast.Global):
                    yield where, "global"
                if (name := _mutated(node)) in held - local:
                    yield where, f"changes the module's {name}"


def default_calls() -> Iterator[Breach]:
    for module in modules().values():
        for where, function in module.functions():
            for default in (*function.args.defaults, *filter(None, function.args.kw_defaults)):
                if _mutable(default) or any(isinstance(node, ast.Call) for node in ast.walk(default)):
                    yield where, "a default argument that is called or can change"


def prints() -> Iterator[Breach]:
    for module in modules().values():
        for node in ast.walk(module.tree):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id
            if called in ("print", "input", "breakpoint") and part(module.name) != "cli":
                yield module.name, f"line {node.lineno}: {called} outside the command line"  # type: ignore[attr-defined]


def swallowed_errors() -> Iterator[Breach]:
    for module in modules().values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ExceptHandler) and _catches_all(node) and not isinstance(node.body[-1], ast.Raise):
                yield module.name, f"line {node.lineno}: catches everything and goes on"


def _targets(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, (ast.AnnAssign, ast.AugAssign)) else []


def _mutable(node: ast.AST | None) -> bool:
    makers = ("list", "dict", "set", "defaultdict", "Counter", "deque", "OrderedDict")
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in makers
    return isinstance(node, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp))


def _stored(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


def _mutated(node: ast.AST) -> str | None:
    """Return the name that a statement changes in place."""
    place: ast.AST | None = None
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del)):
        place = node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        place = node.func.value
    return place.id if isinstance(place, ast.Name) else None


def _catches_all(node: ast.ExceptHandler) -> bool:
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(kind is None or getattr(kind, "id", "") in ("Exception", "BaseException") for kind in kinds)


# --- words


def annotations() -> Iterator[Breach]:
    for module in modules().values():
        for where, function in module.functions():
            args = function.args
            every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, (args.vararg, args.kwarg))]
            bare = [arg.arg for arg in every if arg.annotation is None and arg.arg not in ("self", "cls")]
            if bare or function.returns is None:
                yield where, f"not typed: {', '.join(bare) or 'what it returns'}"


def docstrings() -> Iterator[Breach]:
    for module in modules().values():
        if not ast.get_docstring(module.tree):
            yield module.name, "no docstring"
        for node in ast.walk(module.tree):
            if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
                text = ast.get_docstring(node) or ""
                if re.search(r"^\s*(Args|Arguments|Parameters|Returns):?\s*$", text, re.MULTILINE):
                    yield f"{module.name}:{node.name}", "a list of arguments in the docstring; the types say it"
        for owner in (module.tree, *(node for node in module.tree.body if isinstance(node, ast.ClassDef))):
            for node in owner.body:
                named = isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_")
                if named and not ast.get_docstring(node):
                    yield f"{module.name}:{node.name}", "no docstring"


def nouns() -> Iterator[Breach]:
    for module in modules().values():
        if module.name.rpartition(".")[2] in NO_NOUN:
            yield module.name, "a file is named by the noun it holds"


def debts() -> Iterator[Breach]:
    for module in modules().values():
        for number, line in enumerate(module.text.splitlines(), start=1):
            if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line) and not re.search(r"\d{4}-\d{2}-\d{2}", line):
                yield module.name, f"line {number}: a debt without a date"


RULES: dict[str, Callable[[], Iterator[Breach]]] = {
    rule.__name__.replace("_", " "): rule
    for rule in (
        upward_imports,
        import_cycles,
        nested_imports,
        file_length,
        function_length,
        medians,
        parameters,
        module_state,
        default_calls,
        prints,
        swallowed_errors,
        annotations,
        docstrings,
        nouns,
        debts,
    )
}


@cache
def allowed() -> dict[tuple[str, str], dict[str, object]]:
    table = tomllib.loads((ROOT / "tests" / "house_allowed.toml").read_text(encoding="utf-8"))
    return {(entry["rule"], entry["where"]): entry for entry in table.get("allowed", [])}


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str) -> None:
    broken = [f"{where}: {what}" for where, what in RULES[rule]() if (rule, where) not in allowed()]
    assert not broken, "\n" + "\n".join(broken)


def test_the_list_of_what_is_allowed_only_shrinks() -> None:
    assert len(allowed()) <= MOST_ALLOWED, "mend the code; a longer list is not an answer"
    for (rule, where), entry in allowed().items():
        assert isinstance(entry["date"], date), f"{where}: a date"
        assert str(entry["reason"]).strip(), f"{where}: a reason"
        assert where in {found for found, _ in RULES[rule]()}, f"{rule}, {where}: no longer needed; take it out"


IMPORT_ALL = """
import importlib, logging, os, random, sys, threading
import cv2, numpy, onnxruntime, polars, safetensors.torch, tensorboardX, torch
def state():
    return (dict(os.environ), threading.active_count(), len(logging.root.handlers), random.getstate(),
            numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), torch.get_num_threads(), os.getcwd())
before = state()
for name in sys.argv[1:]:
    importlib.import_module(name)
    assert state() == before, f"importing {name} changes something"
"""


def test_importing_does_nothing(tmp_path: Path) -> None:
    names = [name for name in modules() if name != "enogu.__main__"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", IMPORT_ALL, *names]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert (result.stdout, list(tmp_path.iterdir())) == ("", [])


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "enogu", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in result.stderr.splitlines()}
    assert not imported & {"torch", "polars", "numpy", "cv2", "PIL", "onnxruntime", "safetensors"}
    assert "usage: enogu" in result.stdout
