"""The values of the data that are not zero, listed by explicit SIMD: row by row, or the rows of a batch by columns."""

from typing import Any

import numpy as np
from llvmlite import ir

from fastnn.kernels import cpu
from fastnn.kernels.families import family
from fastnn.kernels.panels import BYTE, fetch
from fastnn.kernels.reading import ALIKE, FLOATS
from fastnn.kernels.vectors import (
    F32,
    I32,
    LANES,
    VECTOR,
    WORD,
    at,
    broadcast,
    function,
    load_some,
    repeat,
    transposed,
    word,
)

# ---------------------------------------------------------------- blocks of columns


def halves_of(inputs: int) -> np.ndarray:
    """Where the two halves of the columns begin whose sums are kept apart (3,): the other one has the bias to do.

    784 columns as 416 and 368: an epoch of 784-30-10, batch 10, took 0.93 of the time by groups of units; as 400 and
    384 it took 0.95.
    """
    step = 8 if inputs >= 64 else 1  # so many are listed at a time
    return np.array([0, -(-53 * inputs // (100 * step)) * step, inputs])


# ---------------------------------------------------------------- row by row

EIGHT = 8
PERMUTED = "avx2" in cpu.features()  # eight values at a time; elsewhere one by one
COMPRESSED = {"avx512vbmi2", "avx512bw"} <= cpu.features()
MANY, CHUNK = 64, 4096  # bytes of a row that are moved at once; that are noted before they become float32


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


def _store_pairs(b: Any, numbers: Any, values: Any, at_int_pairs: Any, place: Any) -> None:
    """Numbers, and behind each its value, become the pairs of a list from a place on."""
    lanes, values = numbers.type.count, b.bitcast(values, numbers.type)
    target = at(b, at_int_pairs, b.mul(place, word(2)))
    for first in range(0, lanes, lanes // 2):
        order = ir.Constant(ir.VectorType(I32, lanes), [first + n // 2 + n % 2 * lanes for n in range(lanes)])
        pairs = b.shuffle_vector(numbers, values, order)
        b.store(pairs, b.bitcast(at(b, target, 2 * first), pairs.type.as_pointer()), align=4)


def _list_alike(b: Any, at_x: Any, at_fetched: Any, at_scale: Any, first: Any, last: Any, at_int_pairs: Any,
                at_int_start: Any) -> None:  # fmt: skip
    """Bytes of one scale: 64 at a time are moved together, with their places, before any becomes a float32."""
    fetched = b.bitcast(at_fetched, BYTE.as_pointer())
    x, many, some = b.bitcast(at_x, BYTE.as_pointer()), ir.VectorType(BYTE, MANY), ir.VectorType(I32, LANES)
    short = ir.IntType(16)
    packed, places = b.alloca(BYTE, CHUNK + MANY), b.alloca(short, CHUNK + MANY)
    numbers, zero = ir.Constant(many, list(range(MANY))), ir.Constant(many, None)
    scale = broadcast(b, b.load(at_scale))
    bits = ir.VectorType(ir.IntType(1), MANY)
    compress = function(b, f"llvm.x86.avx512.mask.compress.v{MANY}i8", many, [many, many, bits])

    def chunk(begin: Any, inside: list[Any]) -> list[Any]:
        base = b.add(first, begin)
        left = b.sub(last, base)
        length = b.select(b.icmp_signed("<", left, word(CHUNK)), left, word(CHUNK))

        def pack(k: Any, inside: list[Any]) -> list[Any]:
            (n,), rest = inside, b.sub(length, k)
            rest = b.select(b.icmp_signed("<", rest, word(MANY)), rest, word(MANY))
            there = b.icmp_unsigned("<", numbers, broadcast(b, b.trunc(rest, BYTE), many))
            fetch(b, at(b, fetched, b.add(base, k)))
            raw = load_some(b, b.bitcast(at(b, x, b.add(base, k)), many.as_pointer()), 1, there)
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
            _store_pairs(b, column, value, at_int_pairs, b.add(start, q))
            return []

        repeat(b, found, LANES, [], unfold)
        return [b.add(start, found)]

    (n,) = repeat(b, b.sub(last, first), CHUNK, [b.zext(b.load(at_int_start), WORD)], chunk)
    b.store(b.trunc(n, I32), at(b, at_int_start, 1))


def _list_values(b: Any, kind: int, at_x: Any, at_fetched: Any, at_scale: Any, first: Any, last: Any,
                 at_int_pairs: Any, at_int_start: Any) -> None:  # fmt: skip
    if kind == ALIKE and COMPRESSED:
        _list_alike(b, at_x, at_fetched, at_scale, first, last, at_int_pairs, at_int_start)
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
        place = at(b, at_int_pairs, b.mul(n, word(2)))
        b.store(b.trunc(k, I32), place)
        value = b.fmul(raw if floats else b.uitofp(raw, F32), b.load(at(b, at_scale, k)))
        b.store(b.bitcast(value, I32), at(b, place, 1))
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
        permute = function(b, "llvm.x86.avx2.permps", wide, [wide, whole])
        columns = b.add(broadcast(b, b.trunc(k, I32), whole), places)
        _store_pairs(b, columns, b.call(permute, [b.fmul(values, scale), places]), at_int_pairs, n)
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

        def together(values: Any, empty: Any, form: str) -> Any:
            kind = values.type
            compress = function(b, f"llvm.x86.avx512.mask.compress.v{LANES}{form}", kind, [kind, kind, present.type])
            return b.call(compress, [values, empty, present])

        values = together(b.fmul(raw, scale), zero, "f32")
        _store_pairs(b, together(columns, nothing, "i32"), values, at_int_pairs, n)
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


# (kind, x, fetched, scale, first, last, pairs, start): list the columns first..last of a row x, of bytes (0), of floats
# (1), or of bytes whose scales are all alike (2), that are not zero, and behind each its value times scale, from pair
# start[0] of the list on; start[1]: where they end. Up to 16 pairs beyond are written to. The same columns of the row
# `fetched` will be read soon: asked for one by one as others are read, not all at once, as a CPU waits for few lines of
# memory at a time. Epochs of 784-100-10, batch 200, on floats, on two threads: 76 ms, so 71.
list_values = family("at_x at_fetched at_scale first last at_int_pairs at_int_start", range(3), _list_values)


# ---------------------------------------------------------------- by columns

MOST_SORTED = 256  # samples of a batch whose bytes are sorted by columns: their numbers are bytes too


def _sort_columns(b: Any, _: int, at_x: Any, at_order: Any, samples: Any, at_scale: Any, inputs: Any,
                  at_int_pairs: Any, at_int_bounds: Any) -> None:  # fmt: skip
    x, order = b.bitcast(at_x, BYTE.as_pointer()), b.bitcast(at_order, WORD.as_pointer())
    many, some = ir.VectorType(BYTE, MANY), ir.VectorType(I32, LANES)
    few = ir.VectorType(BYTE, LANES)
    numbers, zero = ir.Constant(many, list(range(MANY))), ir.Constant(many, None)
    bits = ir.VectorType(ir.IntType(1), MANY)
    compress = function(b, f"llvm.x86.avx512.mask.compress.v{MANY}i8", many, [many, many, bits])
    rows = b.alloca(x.type, MOST_SORTED)
    # MANY columns, each of all samples; then what is not zero of them, and the numbers of the samples
    columns, packed, places = (b.alloca(BYTE, MANY * MOST_SORTED + MANY) for _ in range(3))

    def up_to(left: Any) -> tuple[Any, Any]:
        """The least of `left` and MANY, and which lanes those are."""
        left = b.select(b.icmp_signed("<", left, word(MANY)), left, word(MANY))
        return left, b.icmp_unsigned("<", numbers, broadcast(b, b.trunc(left, BYTE), many))

    def find(i: Any, _: list[Any]) -> list[Any]:
        """The last row stands in for those that a group of samples lacks."""
        i_there = b.select(b.icmp_signed("<", i, samples), i, b.sub(samples, word(1)))
        b.store(at(b, x, b.mul(b.load(at(b, order, i_there)), inputs)), at(b, rows, i))
        return []

    repeat(b, b.and_(b.add(samples, word(LANES - 1)), word(-LANES)), 1, [], find)

    def block(k: Any, inside: list[Any]) -> list[Any]:
        (start,) = inside
        count, there = up_to(b.sub(inputs, k))

        def turn(i: Any, _: list[Any]) -> list[Any]:
            """Transpose the bytes of LANES samples, in all runs of LANES columns at once."""
            sources = [at(b, b.load(at(b, rows, b.add(i, word(m)))), k) for m in range(LANES)]
            held = [load_some(b, b.bitcast(source, many.as_pointer()), 1, there) for source in sources]
            for j, turned in enumerate(transposed(b, held)):
                for run in range(0, MANY, LANES):
                    lanes = ir.Constant(some, list(range(run, run + LANES)))
                    target = at(b, columns, b.add(i, word(MOST_SORTED * (run + j))))
                    b.store(b.shuffle_vector(turned, turned, lanes), b.bitcast(target, few.as_pointer()), align=1)
            return []

        repeat(b, samples, LANES, [], turn)

        def column(c: Any, inside: list[Any]) -> list[Any]:
            here = at(b, columns, b.mul(c, word(MOST_SORTED)))

            def pack(i: Any, inside: list[Any]) -> list[Any]:
                (n,) = inside
                raw = b.load(b.bitcast(at(b, here, i), many.as_pointer()), align=1)
                present = b.and_(b.icmp_unsigned("!=", raw, zero), up_to(b.sub(samples, i))[1])
                found = b.add(numbers, broadcast(b, b.trunc(i, BYTE), many))
                for values, to in ((raw, packed), (found, places)):
                    b.store(b.call(compress, [values, zero, present]), b.bitcast(at(b, to, n), many.as_pointer()), 1)
                return [b.add(n, b.zext(b.ctpop(b.bitcast(present, ir.IntType(MANY))), WORD))]

            (n,) = repeat(b, samples, MANY, inside, pack)
            b.store(b.trunc(b.add(start, n), I32), at(b, at_int_bounds, b.add(b.add(k, c), word(1))))
            return [n]

        (found,) = repeat(b, count, 1, [word(0)], column)

        def unfold(q: Any, _: list[Any]) -> list[Any]:
            raw, sample = (
                b.zext(b.load(b.bitcast(at(b, source, q), few.as_pointer()), align=1), some)
                for source in (packed, places)
            )
            _store_pairs(b, sample, b.fmul(b.sitofp(raw, VECTOR), scale), at_int_pairs, b.add(start, q))
            return []

        repeat(b, found, LANES, [], unfold)
        return [b.add(start, found)]

    scale = broadcast(b, b.load(at_scale))
    b.store(ir.Constant(I32, 0), at_int_bounds)
    repeat(b, inputs, MANY, [word(0)], block)


# (1, x, order, samples, scale, inputs, pairs, bounds): the values that are not zero, times scale[0], of the rows of x,
# `inputs` bytes each, whose numbers are at `order`, up to MOST_SORTED: those of column k, in the order of the samples,
# are pairs bounds[k] to bounds[k + 1]; the sample and behind it the value. Up to 16 pairs beyond are written to. By
# transposing bytes: what a counting sort of lists does in 18.3 us, 15,000 values of 100 digits, took 10.
sort_columns = family("at_x at_order samples at_scale inputs at_int_pairs at_int_bounds", [1] * COMPRESSED,
                      _sort_columns)  # fmt: skip
