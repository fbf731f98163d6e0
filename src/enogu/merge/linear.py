"""A sum of tensors, each times its factor, in one loop: read once, added in float32, rounded once.

torch makes a call for each model, hands Python's lock over each time and goes through memory; the bytes are the same.
"""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from enogu.core.records.native import addresses, call, has, native

WIDTH = 32  # elements at once
BITS: Mapping[torch.dtype, int] = {torch.float16: 16, torch.bfloat16: 16, torch.float32: 32}
INFINITE = {torch.float16: 0x7C00, torch.bfloat16: 0x7F80, torch.float32: 0x7F800000}  # its bits
TO_BFLOAT = 16  # bits that a bfloat16 lacks of a float32


@cache
def is_native() -> bool:
    """Return whether the processor adds so."""
    return has("f16c", "fma")


def add(tensors: Sequence[Tensor], factors: Sequence[float], out: Tensor) -> bool:
    """Fill `out` with a sum of tensors times factors, all flat and of the dtypes of BITS; return whether it is finite.

    The first product is rounded to float32, and so is the sum with each further one, and at last to the dtype of `out`.
    """
    places = addresses([tensor.data_ptr() for tensor in tensors])
    scales = np.array(factors, np.float32)
    kernel = _kernel(tuple(tensor.dtype for tensor in tensors), out.dtype)
    return kernel(places, scales.ctypes.data, out.data_ptr(), len(out)) < INFINITE[out.dtype]


@cache
def _kernel(stored: tuple[torch.dtype, ...], dtype: torch.dtype) -> Callable[..., int]:
    """Return compiled code: (tensors, factors, out, count) -> the largest bits in `out`, but for the sign."""
    pointer = ctypes.c_void_p
    return native(_code(stored, dtype), ctypes.c_uint32, pointer, pointer, pointer, ctypes.c_size_t)


def _code(stored: tuple[torch.dtype, ...], dtype: torch.dtype) -> Any:
    from llvmlite import ir

    number, size = ir.IntType(64), ir.IntType(BITS[dtype])
    pointer, floats = ir.IntType(8).as_pointer(), ir.FloatType().as_pointer()
    module = ir.Module()
    kind = ir.FunctionType(ir.IntType(32), [pointer.as_pointer(), floats, pointer, number])
    function = ir.Function(module, kind, "add")
    places, factors, out, count = function.args
    build = ir.IRBuilder(function.append_basic_block())
    each = [build.gep(places, [number(index)]) for index in range(len(stored))]
    scales = [build.load(build.gep(factors, [number(index)])) for index in range(len(stored))]
    sources = list(zip(stored, map(build.load, each), strict=True))
    loops = _Loops(build, sources, scales, (dtype, out), count)
    position, largest = loops.loop(WIDTH, number(0))
    _, last = loops.loop(1, position)
    found = call(build, f"llvm.umax.i{size.width}", size, largest, last)
    build.ret(build.zext(found, ir.IntType(32)) if size.width < 32 else found)
    return module


@dataclass(frozen=True)
class _Loops:
    """Loops that follow one another, in LLVM's language; `sources` and `out` are a dtype and a pointer each."""

    build: Any
    sources: list[tuple[torch.dtype, Any]]
    scales: list[Any]
    out: tuple[torch.dtype, Any]
    count: Any

    def loop(self, width: int, start: Any) -> tuple[Any, Any]:
        """Add so many elements at once as long as there are; return where that ends, and the largest bits."""
        from llvmlite import ir

        build, before, size = self.build, self.build.block, BITS[self.out[0]]
        bits = ir.VectorType(ir.IntType(size), width)
        scales = [self._spread(scale, width) for scale in self.scales]
        head, body, end = (build.append_basic_block() for _ in range(3))
        build.branch(head)

        build.position_at_end(head)
        position, largest = build.phi(start.type), build.phi(bits)
        following = build.add(position, start.type(width))
        build.cbranch(build.icmp_unsigned("<=", following, self.count), body, end)

        build.position_at_end(body)
        result = _narrowed(build, self._added(scales, position, width), self.out[0])
        build.store(result, self._at(self.out, position, width), align=1)
        unsigned = build.and_(result, _all(bits, (1 << size - 1) - 1))
        larger = call(build, f"llvm.umax.v{width}i{size}", bits, largest, unsigned)
        build.branch(head)
        for phi, first, later in ((position, start, following), (largest, _all(bits, 0), larger)):
            phi.add_incoming(first, before)
            phi.add_incoming(later, body)

        build.position_at_end(end)
        return position, call(build, f"llvm.vector.reduce.umax.v{width}i{size}", bits.element, largest)

    def _added(self, scales: list[Any], position: Any, width: int) -> Any:
        build, total = self.build, None
        for source, scale in zip(self.sources, scales, strict=True):
            value = _widened(build, build.load(self._at(source, position, width), align=1), source[0])
            fused = f"llvm.fma.v{width}f32"
            total = call(build, fused, value.type, value, scale, total) if total else build.fmul(value, scale)
        return total

    def _at(self, place: tuple[torch.dtype, Any], position: Any, width: int) -> Any:
        from llvmlite import ir

        element = ir.IntType(BITS[place[0]])
        pointer = self.build.gep(self.build.bitcast(place[1], element.as_pointer()), [position])
        return self.build.bitcast(pointer, ir.VectorType(element, width).as_pointer())

    def _spread(self, value: Any, width: int) -> Any:
        from llvmlite import ir

        empty = ir.Constant(ir.VectorType(value.type, width), ir.Undefined)
        one = self.build.insert_element(empty, value, ir.IntType(32)(0))
        return self.build.shuffle_vector(one, empty, _all(ir.VectorType(ir.IntType(32), width), 0))


def _widened(build: Any, bits: Any, dtype: torch.dtype) -> Any:
    """Write what makes float32 values of the bits of a dtype."""
    from llvmlite import ir

    width = bits.type.count
    wide = ir.VectorType(ir.FloatType(), width)
    if dtype == torch.float16:
        return build.fpext(build.bitcast(bits, ir.VectorType(ir.HalfType(), width)), wide)
    if dtype == torch.bfloat16:
        longer = build.zext(bits, ir.VectorType(ir.IntType(32), width))
        bits = build.shl(longer, _all(longer.type, TO_BFLOAT))
    return build.bitcast(bits, wide)


def _narrowed(build: Any, values: Any, dtype: torch.dtype) -> Any:
    """Write what makes the bits of a dtype, to the nearest and of two the even one, of float32 values."""
    from llvmlite import ir

    short, long = (ir.VectorType(ir.IntType(size), values.type.count) for size in (16, 32))
    if dtype == torch.float16:
        return build.bitcast(build.fptrunc(values, ir.VectorType(ir.HalfType(), values.type.count)), short)
    bits = build.bitcast(values, long)
    if dtype == torch.bfloat16:
        odd = build.and_(build.lshr(bits, _all(long, TO_BFLOAT)), _all(long, 1))
        rounded = build.add(bits, build.add(odd, _all(long, (1 << TO_BFLOAT - 1) - 1)))
        number = build.fcmp_ordered("ord", values, values)
        kept = build.select(number, rounded, _all(long, 0x7FC00000))  # a carry would make a number of what is none
        return build.trunc(build.lshr(kept, _all(long, TO_BFLOAT)), short)
    return bits


def _all(vector: Any, value: int) -> Any:
    from llvmlite import ir

    return ir.Constant(vector, [value] * vector.count)
