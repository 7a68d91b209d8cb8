"""Rows of the data, by explicit SIMD: all their values spread into panels, or those that are not zero listed."""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from fastnn.kernels import cpu
from fastnn.kernels.families import family
from fastnn.kernels.simd import BYTE, fetch
from fastnn.kernels.vectors import (
    CONTRACT,
    F32,
    I32,
    LANES,
    PARTS,
    VECTOR,
    WORD,
    at,
    broadcast,
    fma,
    repeat,
    row_of,
    transposed,
    word,
)
from fastnn.layers import LANES as PANEL


def _function(b: Any, name: str, result: Any, kinds: Sequence[Any]) -> Any:
    """LLVM's own function of this name."""
    return b.module.globals.get(name) or ir.Function(b.module, ir.FunctionType(result, kinds), name)


def masked_load(b: Any, pointer: Any, align: int, there: Any) -> Any:
    """The lanes of a vector that are there, zero in the others, whose memory is not touched."""
    kind = pointer.type.pointee
    name = f"llvm.masked.load.v{kind.count}{'f32' if kind.element is F32 else 'i8'}.p0"
    masked = _function(b, name, kind, [pointer.type, I32, there.type, kind])
    return b.call(masked, [pointer, ir.Constant(I32, align), there, ir.Constant(kind, None)])


EIGHT = 8
PERMUTED = "avx2" in cpu.features()  # eight values at a time; elsewhere one by one
COMPRESSED = {"avx512vbmi2", "avx512bw"} <= cpu.features()
BYTES, FLOATS, ALIKE, LISTS = range(4)  # what rows are of; ALIKE: bytes of one scale
LINE = 64  # bytes
MOST = 4096  # bytes of a row that are fetched ahead
MANY, CHUNK = 64, 4096  # of them are moved at once; that are noted before they become float32


def _places(module: Any) -> Any:
    """For each byte, the numbers of its bits that are set, in order: a table (256, 8) in the compiled module."""
    name = "fastnn.places"
    if name not in module.globals:
        kind = ir.ArrayType(ir.VectorType(BYTE, EIGHT), 256)
        rows = [[bit for bit in range(EIGHT) if byte >> bit & 1] for byte in range(256)]
        made = ir.GlobalVariable(module, kind, name)
        made.linkage, made.global_constant = "internal", True
        made.initializer = ir.Constant(kind, [[*row, *[0] * (EIGHT - len(row))] for row in rows])
    return module.globals[name]


def _list_alike(b: Any, at_x: Any, at_fetched: Any, at_scale: Any, first: Any, last: Any, at_int_index: Any,
                at_value: Any, at_int_start: Any) -> None:  # fmt: skip
    """Bytes of one scale: 64 at a time are moved together, with their places, before any becomes a float32."""
    fetched = b.bitcast(at_fetched, BYTE.as_pointer())
    x, many, some = b.bitcast(at_x, BYTE.as_pointer()), ir.VectorType(BYTE, MANY), ir.VectorType(I32, LANES)
    short = ir.IntType(16)
    packed, places = b.alloca(BYTE, CHUNK + MANY), b.alloca(short, CHUNK + MANY)
    numbers, zero = ir.Constant(many, list(range(MANY))), ir.Constant(many, None)
    scale = broadcast(b, b.load(at(b, at_scale, first)))
    bits = ir.VectorType(ir.IntType(1), MANY)
    compress = _function(b, f"llvm.x86.avx512.mask.compress.v{MANY}i8", many, [many, many, bits])

    def chunk(begin: Any, inside: list[Any]) -> list[Any]:
        base = b.add(first, begin)
        left = b.sub(last, base)
        length = b.select(b.icmp_signed("<", left, word(CHUNK)), left, word(CHUNK))

        def pack(k: Any, inside: list[Any]) -> list[Any]:
            (n,), rest = inside, b.sub(length, k)
            rest = b.select(b.icmp_signed("<", rest, word(MANY)), rest, word(MANY))
            there = b.icmp_unsigned("<", numbers, broadcast(b, b.trunc(rest, BYTE), many))
            fetch(b, at(b, fetched, b.add(base, k)))
            raw = masked_load(b, b.bitcast(at(b, x, b.add(base, k)), many.as_pointer()), 1, there)
            present = b.icmp_unsigned("!=", raw, zero)
            b.store(b.call(compress, [raw, zero, present]), b.bitcast(at(b, packed, n), many.as_pointer()), align=1)
            wide = ir.VectorType(short, MANY)
            columns = b.zext(b.call(compress, [numbers, zero, present]), wide)
            columns = b.add(columns, broadcast(b, b.trunc(k, short), wide))
            b.store(columns, b.bitcast(at(b, places, n), wide.as_pointer()), align=2)
            return [b.add(n, b.zext(b.ctpop(b.bitcast(present, ir.IntType(MANY))), WORD))]

        (start,) = inside
        (found,) = repeat(b, length, MANY, [word(0)], pack)

        def unfold(q: Any, _: list[Any]) -> list[Any]:
            source = b.bitcast(at(b, packed, q), ir.VectorType(BYTE, LANES).as_pointer())
            value = b.fmul(b.sitofp(b.zext(b.load(source, align=1), some), VECTOR), scale)
            source = b.bitcast(at(b, places, q), ir.VectorType(short, LANES).as_pointer())
            column = b.add(b.zext(b.load(source, align=2), some), broadcast(b, b.trunc(base, I32), some))
            place = b.add(start, q)
            b.store(value, b.bitcast(at(b, at_value, place), VECTOR.as_pointer()), align=4)
            b.store(column, b.bitcast(at(b, at_int_index, place), some.as_pointer()), align=4)
            return []

        repeat(b, found, LANES, [], unfold)
        return [b.add(start, found)]

    (n,) = repeat(b, b.sub(last, first), CHUNK, [b.zext(b.load(at_int_start), WORD)], chunk)
    b.store(b.trunc(n, I32), at(b, at_int_start, 1))


def _list_values(b: Any, kind: int, at_x: Any, at_fetched: Any, at_scale: Any, first: Any, last: Any,
                 at_int_index: Any, at_value: Any, at_int_start: Any) -> None:  # fmt: skip
    if kind == ALIKE and COMPRESSED:
        _list_alike(b, at_x, at_fetched, at_scale, first, last, at_int_index, at_value, at_int_start)
        return
    floats = kind == FLOATS
    x, fetched = (row if floats else b.bitcast(row, BYTE.as_pointer()) for row in (at_x, at_fetched))

    def one(k: Any, inside: list[Any]) -> list[Any]:
        """Written always, kept if it is not zero: no branch to be guessed wrong."""
        k, (n,) = b.add(first, k), inside
        fetch(b, at(b, fetched, k))
        raw = b.load(at(b, x, k))
        zero = ir.Constant(raw.type, 0)
        present = b.fcmp_unordered("!=", raw, zero) if floats else b.icmp_unsigned("!=", raw, zero)
        b.store(b.trunc(k, I32), at(b, at_int_index, n))
        value = raw if floats else b.uitofp(raw, F32)
        b.store(b.fmul(value, b.load(at(b, at_scale, k))), at(b, at_value, n))
        return [b.add(n, b.zext(present, WORD))]

    def eight(k: Any, inside: list[Any]) -> list[Any]:
        """The values that are not zero are moved together by a permutation that a table holds."""
        k, (n,) = b.add(first, k), inside
        fetch(b, at(b, fetched, k))
        kind = ir.VectorType(F32 if floats else BYTE, EIGHT)
        wide, whole = ir.VectorType(F32, EIGHT), ir.VectorType(I32, EIGHT)
        raw = b.load(b.bitcast(at(b, x, k), kind.as_pointer()), align=4 if floats else 1)
        zero = ir.Constant(kind, None)
        present = b.fcmp_unordered("!=", raw, zero) if floats else b.icmp_unsigned("!=", raw, zero)
        mask = b.bitcast(present, BYTE)
        values = raw if floats else b.uitofp(raw, wide)
        scale = b.load(b.bitcast(at(b, at_scale, k), wide.as_pointer()), align=4)
        places = b.zext(b.load(b.gep(_places(b.module), [word(0), b.zext(mask, WORD)]), align=8), whole)
        permute = _function(b, "llvm.x86.avx2.permps", wide, [wide, whole])
        columns = broadcast(b, b.trunc(k, I32), whole)
        index = b.bitcast(at(b, at_int_index, n), whole.as_pointer())
        b.store(b.add(columns, places), index, align=4)
        value = b.bitcast(at(b, at_value, n), wide.as_pointer())
        b.store(b.call(permute, [b.fmul(values, scale), places]), value, align=4)
        return [b.add(n, b.zext(b.ctpop(mask), WORD))]

    def sixteen(k: Any, inside: list[Any]) -> list[Any]:
        """The same where the CPU itself moves what a mask names: 60,000 digits as floats in 8.6 ms, so 6.7."""
        k, (n,) = b.add(first, k), inside
        whole = ir.VectorType(I32, LANES)
        fetch(b, at(b, fetched, k))
        raw = b.load(b.bitcast(at(b, x, k), VECTOR.as_pointer()), align=4)
        zero, nothing = ir.Constant(VECTOR, None), ir.Constant(whole, None)
        present = b.fcmp_unordered("!=", raw, zero)
        scale = b.load(b.bitcast(at(b, at_scale, k), VECTOR.as_pointer()), align=4)
        columns = b.add(broadcast(b, b.trunc(k, I32), whole), ir.Constant(whole, list(range(LANES))))
        for values, empty, to, form in (
            (columns, nothing, at_int_index, "i32"),
            (b.fmul(raw, scale), zero, at_value, "f32"),
        ):
            kind = values.type
            compress = _function(b, f"llvm.x86.avx512.mask.compress.v{LANES}{form}", kind, [kind, kind, present.type])
            b.store(b.call(compress, [values, empty, present]), b.bitcast(at(b, to, n), kind.as_pointer()), align=4)
        return [b.add(n, b.zext(b.ctpop(b.bitcast(present, ir.IntType(LANES))), WORD))]

    count, held = b.sub(last, first), [b.zext(b.load(at_int_start), WORD)]
    if PERMUTED:
        step, several = (LANES, sixteen) if floats and COMPRESSED and LANES > EIGHT else (EIGHT, eight)
        whole = b.and_(count, word(-step))
        held = repeat(b, whole, step, held, several)
        (n,) = repeat(b, b.sub(count, whole), 1, held, lambda k, inside: one(b.add(k, whole), inside))
    else:
        (n,) = repeat(b, count, 1, held, one)
    b.store(b.trunc(n, I32), at(b, at_int_start, 1))


# (kind, x, fetched, scale, first, last, index, value, start): list the columns first..last of a row x, of bytes (0), of
# floats (1), or of bytes whose scales are all alike (2), that are not zero, and their values times scale, from place
# start[0] of the lists on; start[1]: where they end. Up to 16 places beyond are written to. The same columns of the row
# `fetched` will be read soon: asked for one by one as others are read, not all at once, as a CPU waits for few lines of
# memory at a time. Epochs of 784-100-10, batch 200, on floats, on two threads: 76 ms, so 71.
list_values = family("at_x at_fetched at_scale first last at_int_index at_value at_int_start", range(3), _list_values)


def _taken(b: Any, pointer: Any, kind: Any, there: Any) -> Any:
    """The vector at a pointer; of those lanes that are there, if not of all."""
    size = 4 if kind.element is F32 else 1
    pointer = b.bitcast(pointer, kind.as_pointer())
    return b.load(pointer, align=size) if there is None else masked_load(b, pointer, size, there)


def _scaled(b: Any, value: Any, scale: Any, shift: Any, there: Any, other: Any) -> Any:
    """scale * value + shift; `other` in lanes that are not there."""
    value = b.fadd(b.fmul(value, scale, flags=CONTRACT), shift, flags=CONTRACT)
    return value if there is None else b.select(there, value, other)


def _spread(b: Any, floats: int, at_x: Any, at_scale: Any, at_shift: Any, count: Any, at_to: Any, jump: Any) -> None:
    x, raw = (at_x, VECTOR) if floats else (b.bitcast(at_x, BYTE.as_pointer()), ir.VectorType(BYTE, LANES))
    lanes = ir.VectorType(I32, LANES)

    def row(k: Any, to: Any, left: Any = None) -> None:
        """scale * x + shift of a panel's values from k on; of those `left`, then 1, a bias's input, and zeros."""
        for part, pointer in enumerate(row_of(b, to)):
            place, there = b.add(k, word(LANES * part)), None
            if left is not None:
                numbers = ir.Constant(lanes, [LANES * part + lane for lane in range(LANES)])
                end = broadcast(b, left, lanes)
                there = b.icmp_signed("<", numbers, end)
            value = _taken(b, at(b, x, place), raw, there)
            value = value if floats else b.uitofp(value, VECTOR)
            scale, shift = (_taken(b, at(b, values, place), VECTOR, there) for values in (at_scale, at_shift))
            one = None if there is None else b.uitofp(b.icmp_signed("==", numbers, end), VECTOR)
            b.store(_scaled(b, value, scale, shift, there, one), pointer, align=4)

    def panel(k: Any, inside: list[Any]) -> list[Any]:
        row(k, inside[0])
        return [at(b, inside[0], jump)]

    whole = b.and_(count, word(-PANEL))
    (to,) = repeat(b, whole, PANEL, [at_to], panel)
    left = b.sub(count, whole)
    with b.if_then(b.icmp_signed(">", left, word(0))):
        row(whole, to, b.trunc(left, I32))


COLUMNS = min(EIGHT, LANES)  # of a block that is transposed at once


def _turn(b: Any, floats: int, at_x: Any, size: Any, at_order: Any, samples: Any, later: Any, at_scale: Any,
          at_shift: Any, count: Any, at_to: Any) -> None:  # fmt: skip
    wide, narrow = ir.VectorType(F32, COLUMNS), ir.VectorType(I32, COLUMNS)
    kind = wide if floats else ir.VectorType(BYTE, COLUMNS)
    x, order = b.bitcast(at_x, BYTE.as_pointer()), b.bitcast(at_order, WORD.as_pointer())
    longest = b.select(b.icmp_signed("<", size, word(MOST)), size, word(MOST))
    # in memory, as no CPU has so many registers; and rows one by one, which a compiler keeps in few
    rows = b.alloca(x.type, PANEL)

    def find(m: Any, _: list[Any]) -> list[Any]:
        row, to_come = (at(b, x, b.mul(b.load(at(b, begin, m)), size)) for begin in (order, at(b, order, later)))
        b.store(row, at(b, rows, m))

        def line(k: Any, _: list[Any]) -> list[Any]:
            fetch(b, at(b, to_come, k))
            return []

        repeat(b, longest, LINE, [], line)
        return [row]

    def stand_in(m: Any, _: list[Any]) -> list[Any]:
        b.store(last, at(b, rows, b.add(m, samples)))
        return []

    (last,) = repeat(b, samples, 1, [x], find)
    repeat(b, b.sub(word(PANEL), samples), 1, [], stand_in)

    def twice(values: Sequence[Any]) -> list[Any]:
        """Vectors that are half as long as the CPU's: the second half of them behind the first."""
        both = ir.Constant(ir.VectorType(I32, LANES), list(range(LANES)))
        halves = values[: len(values) // 2], values[len(values) // 2 :]
        return [b.shuffle_vector(*pair, both) for pair in zip(*halves, strict=True)]

    def block(k: Any, left: Any = None) -> None:
        """Columns from k on, COLUMNS of them; or `left`."""
        there = None
        if left is not None:
            there = b.icmp_signed("<", ir.Constant(narrow, list(range(COLUMNS))), broadcast(b, left, narrow))
        scale, shift = ([_taken(b, at(b, values, k), wide, there)] for values in (at_scale, at_shift))
        if COLUMNS < LANES:
            scale, shift = twice(2 * scale), twice(2 * shift)
        for part in range(PARTS):
            pointers = [b.load(at(b, rows, part * LANES + m)) for m in range(LANES)]
            held = [_taken(b, at(b, row, b.mul(k, word(4 if floats else 1))), kind, there) for row in pointers]
            held = held if floats else [b.uitofp(value, wide) for value in held]
            held = [fma(b, raw, *scale, *shift) for raw in (twice(held) if COLUMNS < LANES else held)]
            for j, column in enumerate(transposed(b, held)):
                out = row_of(b, at(b, at_to, b.mul(b.add(k, word(j)), word(PANEL))))[part]
                if left is None:
                    b.store(column, out, align=4)
                else:
                    with b.if_then(b.icmp_signed("<", ir.Constant(I32, j), left)):
                        b.store(column, out, align=4)

    def whole_block(k: Any, _: list[Any]) -> list[Any]:
        block(k)
        return []

    whole = b.and_(count, word(-COLUMNS))
    repeat(b, whole, COLUMNS, [], whole_block)
    left = b.sub(count, whole)
    with b.if_then(b.icmp_signed(">", left, word(0))):
        block(whole, b.trunc(left, I32))


# (floats, x, size, order, samples, later, scale, shift, count, to): scale * x + shift of the rows of x, `size` bytes
# each, whose numbers are at `order`: column k of the `samples` rows, at most 16, as row k of `to`, 16 floats. The last
# sample stands in for those that lack. Rows that stand `later` in the order are fetched.
turn = family("at_x size at_order samples later at_scale at_shift count at_to", range(2), _turn)

# (floats, x, scale, shift, count, to, jump): scale * x + shift of `count` values, bytes or floats, into the panels of a
# sample. In the rest of the last one, if it has one, follow 1, the input that a bias is the weight of, and zeros.
spread = family("at_x at_scale at_shift count at_to jump", range(2), _spread)
