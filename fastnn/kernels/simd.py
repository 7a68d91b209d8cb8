"""Explicit SIMD and raw memory for the fused kernels, as Numba intrinsics: each emits the LLVM IR of a whole loop.

Numba has no vector type, so vectors live inside one intrinsic. Each loop is a function of its own in the compiled
module: the register allocator sees nothing else, and a loop is compiled once however often it is called. Vectors are as
long as the CPU's (fastnn.kernels.cpu); without any, LLVM lowers the same code to what there is.

Values of a layer, and its deltas, lie in *panels* of 16 units: unit u of sample i at ``(u // 16) * jump + 16 i + u % 16``
floats, `jump` being the floats from panel to panel. So both ways of reading them, by sample and by unit, are contiguous.
Addresses are plain integers, strides and jumps count floats.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastnn.kernels import cpu
from fastnn.layers import LANES as PANEL

F32 = ir.FloatType()
I32 = ir.IntType(32)
WORD = ir.IntType(64)
FLOATS = F32.as_pointer()
INTS = I32.as_pointer()

LANES = cpu.lanes()
REGISTERS = cpu.registers()
FUSED = bool(cpu.features() & {"fma", "avx512f", "neon"})  # without, a * b + c is rounded twice: as the CPU can
VECTOR = ir.VectorType(F32, LANES)
PARTS = PANEL // LANES  # vectors of a panel's row
# Sums that a tile holds: of so many rows, by one panel. Each needs PARTS registers, the panel's row and one factor too.
TILE_ROWS = min(PANEL, (REGISTERS - PARTS - 1) // PARTS // 2 * 2)
UNROLLED = 8  # samples: a tile's loop runs at 0.88 of the FMA peak, at 0.78 with the two that LLVM unrolls by itself
# Panels that the sparse loops sum at once: eight vectors. Two units that each take four cycles need as many chains.
PANELS_AT_ONCE = 8 // PARTS
WAYS = 8 // PARTS  # sums that the loop for a single panel keeps apart, for the same reason

# ---------------------------------------------------------------- building blocks


def _word(value: int) -> ir.Constant:
    return ir.Constant(WORD, value)


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c. Declared by name: llvmlite's declare_intrinsic knows no vectors."""
    if not FUSED:
        return builder.fadd(builder.fmul(a, b), c)
    name = f"llvm.fma.v{LANES}f32"
    function = builder.module.globals.get(name) or ir.Function(
        builder.module, ir.FunctionType(VECTOR, [VECTOR] * 3), name
    )
    return builder.call(function, [a, b, c])


def _broadcast(builder: Any, pointer: Any) -> Any:
    undefined = ir.Constant(VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, builder.load(pointer), ir.Constant(I32, 0))
    zeros = ir.Constant(ir.VectorType(I32, LANES), [0] * LANES)
    return builder.shuffle_vector(first, undefined, zeros)


def _at(builder: Any, pointer: Any, place: Any) -> Any:
    return builder.gep(pointer, [_word(place) if isinstance(place, int) else place])


def _row(builder: Any, pointer: Any) -> list[Any]:
    """Pointers to the vectors of a panel's row."""
    kind = VECTOR.as_pointer()
    return [builder.bitcast(_at(builder, pointer, part * LANES), kind) for part in range(PARTS)]


def _load(builder: Any, pointers: Sequence[Any]) -> list[Any]:
    return [builder.load(pointer, align=4) for pointer in pointers]


def _store(builder: Any, values: Sequence[Any], pointers: Sequence[Any]) -> None:
    for value, pointer in zip(values, pointers, strict=True):
        builder.store(value, pointer, align=4)


def _repeat(
    builder: Any, count: Any, step: int, held: Sequence[Any], turn: Callable[[Any, list[Any]], list[Any]]
) -> list[Any]:
    """``for q in range(0, count, step): held = turn(q, held)``, with the values kept in registers; their last."""
    entry = builder.block
    loop, done = builder.append_basic_block("loop"), builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed(">", count, _word(0)), loop, done)
    builder.position_at_end(loop)
    q = builder.phi(WORD)
    inside = [builder.phi(value.type) for value in held]
    later = turn(q, inside)
    following, end = builder.add(q, _word(step)), builder.block
    builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
    for phi, before, after in zip([q, *inside], [_word(0), *held], [following, *later], strict=True):
        phi.add_incoming(before, entry)
        phi.add_incoming(after, end)
    builder.position_at_end(done)
    results = [builder.phi(value.type) for value in held]
    for phi, before, after in zip(results, held, later, strict=True):
        phi.add_incoming(before, entry)
        phi.add_incoming(after, end)
    return results


def _family(arguments: str, sizes: Sequence[int], body: Callable[..., None]) -> Callable[..., None]:
    """An intrinsic ``(size, *arguments)`` that calls the function which ``body(builder, size, *arguments)`` emits.

    `arguments` are names: those that begin with ``at_`` are addresses, of float32, or of int32 (``at_int_``); the
    others are words. A function is emitted for each of the `sizes`; another size does nothing.
    """
    names = arguments.split()
    kinds = [INTS if n.startswith("at_int_") else FLOATS if n.startswith("at_") else WORD for n in names]

    def function(module: Any, size: int) -> Any:
        label = f"fastnn{body.__name__}.{size}"
        if label not in module.globals:
            made = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), label)
            made.linkage = "linkonce_odr"
            made.attributes.add("noinline")
            builder = ir.IRBuilder(made.append_basic_block("entry"))
            body(builder, size, *made.args)
            builder.ret_void()
        return module.globals[label]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        size, *rest = args
        values = [v if kind is WORD else builder.inttoptr(v, kind) for v, kind in zip(rest, kinds, strict=True)]
        end = builder.append_basic_block("end")
        chosen = builder.switch(size, end)
        for possible in sizes:
            block = builder.append_basic_block(f"size.{possible}")
            chosen.add_case(_word(possible), block)
            builder.position_at_end(block)
            builder.call(function(builder.module, possible), values)
            builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    made = types.void(*[types.intp] * (len(names) + 1)), generate
    # Numba wants each argument of an intrinsic named
    forms: dict[int, Callable[..., Any]] = {
        4: lambda context, size, a, b, c, d: made,
        7: lambda context, size, a, b, c, d, e, f, g: made,
        8: lambda context, size, a, b, c, d, e, f, g, h: made,
        9: lambda context, size, a, b, c, d, e, f, g, h, i: made,
    }
    return intrinsic(forms[len(names)])  # type: ignore[no-any-return]


# ---------------------------------------------------------------- dense tiles


def _tile_by_samples(b: Any, size: int, at_a: Any, jump: Any, at_w: Any, stride: Any, depth: Any, at_start: Any,
                     step: Any, at_c: Any) -> None:  # fmt: skip
    first = [_at(b, at_start, b.mul(step, _word(m))) for m in range(size)]
    sums = [value for row in first for value in _load(b, _row(b, row))]

    def unit(a: Any, w: Any, old: list[Any]) -> list[Any]:
        right, new = _load(b, _row(b, w)), []
        for m in range(size):
            left = _broadcast(b, _at(b, a, PANEL * m))
            new += [_fma(b, left, right[v], old[PARTS * m + v]) for v in range(PARTS)]
        return new

    def panel(_: Any, inside: list[Any]) -> list[Any]:
        a, w, *held = inside
        for k in range(PANEL):
            held = unit(_at(b, a, k), w, held)
            w = _at(b, w, stride)
        return [_at(b, a, jump), w, *held]

    def rest(_: Any, inside: list[Any]) -> list[Any]:
        a, w, *held = inside
        return [_at(b, a, 1), _at(b, w, stride), *unit(a, w, held)]

    whole = b.and_(depth, _word(-PANEL))
    held = _repeat(b, whole, PANEL, [at_a, at_w, *sums], panel)
    sums = _repeat(b, b.sub(depth, whole), 1, held, rest)[2:]
    for m in range(size):
        _store(b, sums[PARTS * m : PARTS * (m + 1)], _row(b, _at(b, at_c, PANEL * m)))


def _tile_by_units(b: Any, size: int, at_a: Any, at_d: Any, depth: Any, at_c: Any) -> None:
    rows = [_row(b, _at(b, at_c, PANEL * m)) for m in range(size)]

    def sample(_: Any, inside: list[Any]) -> list[Any]:
        a, d, *old = inside
        right, new = _load(b, _row(b, d)), []
        for m in range(size):
            left = _broadcast(b, _at(b, a, m))
            new += [_fma(b, left, right[v], old[PARTS * m + v]) for v in range(PARTS)]
        return [_at(b, a, PANEL), _at(b, d, PANEL), *new]

    def samples(_: Any, inside: list[Any]) -> list[Any]:
        for _ in range(UNROLLED):
            inside = sample(_, inside)
        return inside

    held = [at_a, at_d, *(value for row in rows for value in _load(b, row))]
    whole = b.and_(depth, _word(-UNROLLED))
    held = _repeat(b, whole, UNROLLED, held, samples)
    sums = _repeat(b, b.sub(depth, whole), 1, held, sample)[2:]
    _store(b, sums, [pointer for row in rows for pointer in row])


# (size, a, jump, w, stride, depth, start, step, c): the Z of `size` samples by 16 units, in one panel's rows c:
# start[m * step] + sum over k < depth of a[m, k] * w[k], a by panels, row k of w at k * stride.
tile_by_samples = _family("at_a jump at_w stride depth at_start step at_c", range(1, TILE_ROWS + 1), _tile_by_samples)

# (size, a, d, depth, c): c[m] += sum over i < depth of a[i, m] * d[i], for `size` units of a panel a: a gradient's
# rows, 16 floats each, next to each other.
tile_by_units = _family("at_a at_d depth at_c", range(1, TILE_ROWS + 1), _tile_by_units)


def _copy(b: Any, size: int, at_from: Any, stride: Any, count: Any, at_to: Any) -> None:
    def turn(_: Any, inside: list[Any]) -> list[Any]:
        source, target = inside
        for p in range(size):
            _store(b, _load(b, _row(b, _at(b, source, PANEL * p))), _row(b, _at(b, target, PANEL * p)))
        return [_at(b, source, stride), _at(b, target, PANEL * size)]

    _repeat(b, count, 1, [at_from, at_to], turn)


# (1, source, stride, count, target): 16 floats of each of `count` rows, next to each other.
copy_panel = _family("at_from stride count at_to", [1], _copy)


# ---------------------------------------------------------------- sparse rows


def _make_accumulate(ways: int) -> Callable[..., None]:
    """The sums of `ways` rows in turn are kept apart and added up at the end: one alone would wait for itself."""

    def body(b: Any, size: int, at_int_index: Any, at_value: Any, count: Any, at_matrix: Any, stride: Any, jump: Any,
             at_start: Any, at_out: Any, out_jump: Any) -> None:  # fmt: skip
        columns = [_at(b, at_matrix, b.mul(jump, _word(p))) for p in range(size)]
        rows = [_row(b, _at(b, at_out, b.mul(out_jump, _word(p)))) for p in range(size)]
        first = [_row(b, _at(b, at_start, b.mul(out_jump, _word(p)))) for p in range(size)]
        width = size * PARTS

        def add(q: Any, old: list[Any]) -> list[Any]:
            place = b.mul(b.zext(b.load(_at(b, at_int_index, q)), WORD), stride)
            left = _broadcast(b, _at(b, at_value, q))
            right = [value for column in columns for value in _load(b, _row(b, _at(b, column, place)))]
            return [_fma(b, left, r, o) for r, o in zip(right, old, strict=True)]

        def turn(q: Any, held: list[Any]) -> list[Any]:
            new: list[Any] = []
            for way in range(ways):
                new += add(b.add(q, _word(way)), held[way * width : (way + 1) * width])
            return new

        sums = [value for row in first for value in _load(b, row)]
        if ways > 1:
            whole = b.sub(count, b.srem(count, _word(ways)))
            sums += [ir.Constant(VECTOR, None)] * (width * (ways - 1))
            sums = _repeat(b, whole, ways, sums, turn)
            for way in range(1, ways):
                sums[:width] = [b.fadd(sums[v], sums[way * width + v]) for v in range(width)]
            rest = b.sub(count, whole)
            sums = _repeat(b, rest, 1, sums[:width], lambda q, held: add(b.add(q, whole), held))
        else:
            sums = _repeat(b, count, 1, sums, add)
        _store(b, sums, [pointer for row in rows for pointer in row])

    body.__name__ = f"_accumulate_{ways}"
    return _family("at_int_index at_value count at_matrix stride jump at_start at_out out_jump",
                   range(1, PANELS_AT_ONCE + 1), body)  # fmt: skip


def _scatter(b: Any, size: int, at_int_index: Any, at_value: Any, count: Any, at_row: Any, jump: Any, at_matrix: Any,
             stride: Any) -> None:  # fmt: skip
    right = [v for p in range(size) for v in _load(b, _row(b, _at(b, at_row, b.mul(jump, _word(p)))))]

    def turn(q: Any, _: list[Any]) -> list[Any]:
        place = b.mul(b.zext(b.load(_at(b, at_int_index, q)), WORD), stride)
        left, target = _broadcast(b, _at(b, at_value, q)), _at(b, at_matrix, place)
        pointers = [pointer for p in range(size) for pointer in _row(b, _at(b, target, PANEL * p))]
        _store(b, [_fma(b, left, r, o) for r, o in zip(right, _load(b, pointers), strict=True)], pointers)
        return []

    _repeat(b, count, 1, [], turn)


# (size, index, value, count, matrix, stride, jump, start, out, out_jump): `size` panels of out = start + sum over
# q < count of value[q] * row index[q] of the matrix, in this order. A row's panels lie `jump` apart, those of start
# and out `out_jump`. The second form sums WAYS rows in turn apart: for few panels, on sums that are never cut.
accumulate = _make_accumulate(1)
accumulate_apart = _make_accumulate(WAYS)

# (size, index, value, count, row, jump, matrix, stride): row index[q] of the matrix += value[q] * row, for q < count.
scatter = _family("at_int_index at_value count at_row jump at_matrix stride", range(1, PANELS_AT_ONCE + 1),
                  _scatter)  # fmt: skip


# ---------------------------------------------------------------- bits and raw memory


def _make_cast(source: Any, target: Any, convert: str) -> Callable[..., Any]:
    @intrinsic
    def cast(typing_context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, convert)(args[0], context.get_value_type(target))

        return target(source), generate

    return cast


float_bits = _make_cast(types.float32, types.int32, "bitcast")  # the bits of a float32, as an int32
bits_float = _make_cast(types.int32, types.float32, "bitcast")  # and back

# An address as a pointer that can be indexed. Unlike an array it has no owner: each use of an owned array counts its
# references in memory that all threads share, which took longer than the arithmetic of 784-300-10.
floats = _make_cast(types.intp, types.CPointer(types.float32), "inttoptr")
doubles = _make_cast(types.intp, types.CPointer(types.float64), "inttoptr")
words = _make_cast(types.intp, types.CPointer(types.int64), "inttoptr")
ints = _make_cast(types.intp, types.CPointer(types.int32), "inttoptr")
octets = _make_cast(types.intp, types.CPointer(types.uint8), "inttoptr")
