"""Explicit SIMD and raw memory for the fused kernels, as Numba intrinsics: each emits the LLVM IR of a whole loop.

Numba has no vector type, so vectors live inside one intrinsic. The IR speaks of 16 lanes; where the CPU has fewer, LLVM
splits each vector into what there is, so the same code runs everywhere. Addresses are plain integers: a view made from
one carries no reference count, which threads would otherwise fight over.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic

from fastnn.layers import LANES

F32 = ir.FloatType()
I32 = ir.IntType(32)
WORD = ir.IntType(64)
VECTOR = ir.VectorType(F32, LANES)


def _word(value: int) -> ir.Constant:
    return ir.Constant(WORD, value)


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once. Declared by name: llvmlite's declare_intrinsic knows no vectors."""
    name = f"llvm.fma.v{LANES}f32"
    function = builder.module.globals.get(name) or ir.Function(
        builder.module, ir.FunctionType(VECTOR, [VECTOR] * 3), name
    )
    return builder.call(function, [a, b, c])


def _broadcast(builder: Any, scalar: Any) -> Any:
    undefined = ir.Constant(VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
    zeros = ir.Constant(ir.VectorType(I32, LANES), [0] * LANES)
    return builder.shuffle_vector(first, undefined, zeros)


def _make_accumulate(vectors: int) -> Callable[..., None]:
    """out[:16 * vectors] += sum over q < count of value[q] * matrix[index[q] * stride:], `out` held in registers."""

    @intrinsic
    def accumulate(typing_context: Any, index: Any, value: Any, count: Any, matrix: Any, stride: Any, out: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            index, value, count, matrix, stride, out = args
            index = builder.inttoptr(index, I32.as_pointer())
            value, matrix, out = (builder.inttoptr(p, F32.as_pointer()) for p in (value, matrix, out))

            def lanes(base: Any, v: int) -> Any:
                return builder.bitcast(builder.gep(base, [_word(v * LANES)]), VECTOR.as_pointer())

            start = [builder.load(lanes(out, v), align=4) for v in range(vectors)]
            entry, loop, done = builder.block, builder.append_basic_block("row"), builder.append_basic_block("done")
            builder.cbranch(builder.icmp_signed(">", count, _word(0)), loop, done)
            builder.position_at_end(loop)
            q = builder.phi(WORD)
            q.add_incoming(_word(0), entry)
            held = [builder.phi(VECTOR) for _ in start]
            for phi, first in zip(held, start, strict=True):
                phi.add_incoming(first, entry)
            at = builder.mul(builder.zext(builder.load(builder.gep(index, [q])), WORD), stride)
            row = builder.gep(matrix, [at])
            factor = _broadcast(builder, builder.load(builder.gep(value, [q])))
            sums = [_fma(builder, factor, builder.load(lanes(row, v), align=4), held[v]) for v in range(vectors)]
            following = builder.add(q, _word(1))
            q.add_incoming(following, loop)
            for phi, later in zip(held, sums, strict=True):
                phi.add_incoming(later, loop)
            builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
            builder.position_at_end(done)
            for v in range(vectors):
                result = builder.phi(VECTOR)
                result.add_incoming(start[v], entry)
                result.add_incoming(sums[v], loop)
                start[v] = result
            for v in range(vectors):
                builder.store(start[v], lanes(out, v), align=4)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), generate

    return accumulate


_accumulate_8, _accumulate_4, _accumulate_1 = _make_accumulate(8), _make_accumulate(4), _make_accumulate(1)


@njit(nogil=True)
def accumulate_rows(index, value, count, matrix, stride, out):  # type: ignore[no-untyped-def]
    """out += sum over q < count of value[q] * matrix[index[q]], over whole rows of `stride` floats.

    All arguments are addresses but `count` and `stride`; index is int32, the rest float32. Eight vectors at a time:
    eight accumulators hide the latency of the FMA (4 cycles, 2 a cycle).
    """
    v, vectors = 0, stride // LANES
    while vectors - v >= 8:
        _accumulate_8(index, value, count, matrix + 4 * LANES * v, stride, out + 4 * LANES * v)
        v += 8
    if vectors - v >= 4:
        _accumulate_4(index, value, count, matrix + 4 * LANES * v, stride, out + 4 * LANES * v)
        v += 4
    while v < vectors:
        _accumulate_1(index, value, count, matrix + 4 * LANES * v, stride, out + 4 * LANES * v)
        v += 1


def _make_cast(source: Any, target: Any) -> Callable[..., Any]:
    @intrinsic
    def cast(typing_context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], context.get_value_type(target))

        return target(source), generate

    return cast


float_bits = _make_cast(types.float32, types.int32)  # the bits of a float32, as an int32
bits_float = _make_cast(types.int32, types.float32)  # and back


def _make_pointer(element: Any) -> Callable[..., Any]:
    @intrinsic
    def pointer(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(element)(types.intp), generate

    return pointer


_float_pointer = _make_pointer(types.float32)
_byte_pointer = _make_pointer(types.uint8)
_int_pointer = _make_pointer(types.int32)


@njit(nogil=True)
def floats(address, count):  # type: ignore[no-untyped-def]
    """`count` float32 at an address, as an array without an owner."""
    return carray(_float_pointer(address), (count,), np.float32)


@njit(nogil=True)
def octets(address, count):  # type: ignore[no-untyped-def]
    """`count` uint8 at an address, as an array without an owner."""
    return carray(_byte_pointer(address), (count,), np.uint8)


@njit(nogil=True)
def integers(address, count):  # type: ignore[no-untyped-def]
    """`count` int32 at an address, as an array without an owner."""
    return carray(_int_pointer(address), (count,), np.int32)
