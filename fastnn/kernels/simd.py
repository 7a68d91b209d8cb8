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


def _make_accumulate(vectors: int, indexed: bool, ways: int = 1) -> Callable[..., None]:
    """out[:16 * vectors] += sum over q < count of value[q] * row q of a matrix, the sums held in registers.

    Row q is row index[q] of the matrix, or row q itself. The sums of `ways` rows in turn are kept apart, and added up
    at the end: a single vector alone would wait for the FMA before it (4 cycles, where 2 could start in each).
    """

    @intrinsic
    def accumulate(typing_context: Any, index: Any, value: Any, count: Any, matrix: Any, stride: Any, out: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            index, value, count, matrix, stride, out = args
            index = builder.inttoptr(index, I32.as_pointer())
            value, matrix, out = (builder.inttoptr(p, F32.as_pointer()) for p in (value, matrix, out))

            def lanes(base: Any, v: int) -> Any:
                return builder.bitcast(builder.gep(base, [_word(v * LANES)]), VECTOR.as_pointer())

            def add_row(q: Any, sums: list[Any]) -> list[Any]:
                number = builder.zext(builder.load(builder.gep(index, [q])), WORD) if indexed else q
                row = builder.gep(matrix, [builder.mul(number, stride)])
                factor = _broadcast(builder, builder.load(builder.gep(value, [q])))
                return [_fma(builder, factor, builder.load(lanes(row, v), align=4), sums[v]) for v in range(vectors)]

            def repeat(name: str, first: Any, end: Any, step: int, sums: list[Any]) -> list[Any]:
                """For q from first below end by step: add rows q .. q + step - 1, each to its own part of the sums."""
                entry = builder.block
                loop, done = builder.append_basic_block(name), builder.append_basic_block(f"{name}.done")
                builder.cbranch(builder.icmp_signed("<", first, end), loop, done)
                builder.position_at_end(loop)
                q = builder.phi(WORD)
                held = [builder.phi(VECTOR) for _ in sums]
                later: list[Any] = []
                for way in range(step):
                    later += add_row(builder.add(q, _word(way)), held[way * vectors : (way + 1) * vectors])
                later += held[step * vectors :]
                following = builder.add(q, _word(step))
                builder.cbranch(builder.icmp_signed("<", following, end), loop, done)
                q.add_incoming(first, entry)
                q.add_incoming(following, loop)
                for phi, start, new in zip(held, sums, later, strict=True):
                    phi.add_incoming(start, entry)
                    phi.add_incoming(new, loop)
                builder.position_at_end(done)
                results = [builder.phi(VECTOR) for _ in sums]
                for phi, start, new in zip(results, sums, later, strict=True):
                    phi.add_incoming(start, entry)
                    phi.add_incoming(new, loop)
                return results

            zero = ir.Constant(VECTOR, None)
            sums = [builder.load(lanes(out, v), align=4) for v in range(vectors)] + [zero] * (vectors * (ways - 1))
            whole = builder.sub(count, builder.srem(count, _word(ways)))
            if ways > 1:
                sums = repeat("rows", _word(0), whole, ways, sums)
            sums = repeat("row", whole if ways > 1 else _word(0), count, 1, sums)
            for way in range(1, ways):
                sums[:vectors] = [builder.fadd(sums[v], sums[way * vectors + v]) for v in range(vectors)]
            for v in range(vectors):
                builder.store(sums[v], lanes(out, v), align=4)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), generate

    return accumulate


_sparse_8, _sparse_4, _sparse_1 = (_make_accumulate(vectors, True) for vectors in (8, 4, 1))
_dense_8, _dense_4, _dense_1 = (_make_accumulate(vectors, False, 8 // vectors) for vectors in (8, 4, 1))
VECTOR_BYTES = 4 * LANES


@njit(nogil=True)
def accumulate_sparse(index, value, count, matrix, stride, out):  # type: ignore[no-untyped-def]
    """out += sum over q < count of value[q] * matrix[index[q]], over whole rows of `stride` floats, in this order.

    All arguments are addresses but `count` and `stride`; index is int32, the rest float32. Eight vectors at a time.
    """
    v, vectors = 0, stride // LANES
    while vectors - v >= 8:
        _sparse_8(index, value, count, matrix + VECTOR_BYTES * v, stride, out + VECTOR_BYTES * v)
        v += 8
    if vectors - v >= 4:
        _sparse_4(index, value, count, matrix + VECTOR_BYTES * v, stride, out + VECTOR_BYTES * v)
        v += 4
    while v < vectors:
        _sparse_1(index, value, count, matrix + VECTOR_BYTES * v, stride, out + VECTOR_BYTES * v)
        v += 1


@njit(nogil=True)
def accumulate_dense(value, count, matrix, stride, out):  # type: ignore[no-untyped-def]
    """out += sum over q < count of value[q] * matrix[q]: as `accumulate_sparse`, but all rows, summed in eight ways."""
    v, vectors = 0, stride // LANES
    while vectors - v >= 8:
        _dense_8(0, value, count, matrix + VECTOR_BYTES * v, stride, out + VECTOR_BYTES * v)
        v += 8
    if vectors - v >= 4:
        _dense_4(0, value, count, matrix + VECTOR_BYTES * v, stride, out + VECTOR_BYTES * v)
        v += 4
    while v < vectors:
        _dense_1(0, value, count, matrix + VECTOR_BYTES * v, stride, out + VECTOR_BYTES * v)
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


@intrinsic
def unowned(typing_context: Any, values: Any) -> Any:
    """The same tuple, its arrays without their owners.

    Each use of an owned array, even of one in a tuple, counts its references up and down in memory that all threads
    share: measured on 784-300-10, that took longer than the arithmetic. Whoever calls the kernel keeps the arrays.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (result,) = args
        for place, kind in enumerate(values.types):
            if isinstance(kind, types.Array):
                array = context.make_array(kind)(context, builder, value=builder.extract_value(result, place))
                array.meminfo = ir.Constant(array.meminfo.type, None)
                array.parent = ir.Constant(array.parent.type, None)
                result = builder.insert_value(result, array._getvalue(), place)
        return result

    return values(values), generate


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
