"""Code for the processor at hand, made when it is first needed: in milliseconds, for loops that run for seconds."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any


def has(*features: str) -> bool:
    """Return whether the processor has instructions that LLVM knows by these names."""
    from llvmlite import binding

    try:
        found = binding.get_host_cpu_features()
    except RuntimeError:  # a processor that LLVM cannot ask
        return False
    return all(found.get(feature) for feature in features)


def call(build: Any, name: str, kind: Any, *arguments: Any) -> Any:
    """Write a call of one of LLVM's own functions, which returns this type."""
    from llvmlite import ir

    function = build.module.declare_intrinsic(name, (), ir.FunctionType(kind, [each.type for each in arguments]))
    return build.call(function, arguments)


def native(module: Any, returns: Any, *arguments: Any) -> Callable[..., Any]:
    """Return the one function of a module of llvmlite.ir; the types are of ctypes. Threads run it side by side."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    features = binding.get_host_cpu_features().flatten()
    target = binding.Target.from_default_triple()
    machine = target.create_target_machine(cpu=binding.get_host_cpu_name(), features=features, opt=2)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(str(module)), machine)
    engine.finalize_object()
    (name,) = (function.name for function in module.functions if not function.is_declaration)
    made = ctypes.CFUNCTYPE(returns, *arguments)(engine.get_function_address(name))
    made.engine = engine  # type: ignore[attr-defined]  # the code lives as long as this does
    return made


def addresses(places: Sequence[int]) -> Any:
    """Return where arrays begin, as one argument."""
    return (ctypes.c_void_p * len(places))(*places)
