"""The inner loops of the fused kernels by explicit SIMD: dense tiles and sparse rows; and raw memory.

Values of a layer, and its deltas, lie in *panels* of 16 units: unit u of sample i at ``(u // 16) * jump + 16 i +
u % 16`` floats, `jump` being the floats from panel to panel. So both ways to read them, by sample and by unit, are
contiguous.
Addresses are plain integers, strides and jumps count floats.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from fastnn.kernels.compiling import intrinsic
from fastnn.kernels.cost import FAR_PANELS, SCATTERED_PANELS
from fastnn.kernels.families import family
from fastnn.kernels.panels import fetch
from fastnn.kernels.vectors import (
    CONTRACT,
    F32,
    I32,
    PARTS,
    REGISTERS,
    VECTOR,
    WORD,
    at,
    broadcast,
    fma,
    load,
    repeat,
    row_of,
    store,
    word,
)
from fastnn.layers import LANES as PANEL

# Sums that a tile holds: of so many rows, by one panel. Each needs PARTS registers, the panel's row and one factor too.
TILE_ROWS = min(PANEL, (REGISTERS - PARTS - 1) // PARTS // 2 * 2)
# Panels that a tile takes at once: two, where a panel's row is one vector. A factor then serves two multiply-adds, of
# which Intel's server cores do as many in a cycle as they load: there a tile of one panel reached 0.77 of the peak, of
# two 0.88, and an epoch of 784-800-800-10 took 1.12 s instead of 1.29 on two threads.
WIDTH = 2 if PARTS == 1 else 1
# Rows of such a tile. By samples: rows of W of two steps, and a factor too; one more, and registers are spilled.
WIDE_ROWS = (REGISTERS - 2 * WIDTH - 1) // WIDTH if WIDTH > 1 else 0
WIDE_UNITS = PANEL // 2 if WIDTH > 1 else 0  # by units: a panel of inputs in two tiles
# Steps that a tile's loop takes at once, 52 to 96 multiply-adds. Twice as many are no faster, and more to compile; with
# two of them LLVM's own unrolling reached 0.78 of the peak on AVX2, with eight 0.88.
TOGETHER = 8 if REGISTERS < 32 else 4
ROWS_FETCHED = 2  # rows of the next weights, with each panel of inputs
NONE = np.float32(-np.inf)  # what all Z are at least
CHAINS = 8  # vectors that must be summed at once: two units multiply and add, and each takes four cycles
PANELS_APART = CHAINS // PARTS // 2  # so few panels are summed in two ways
# Panels that the sparse loops sum at once. With eight, two threads took 184 ms for an epoch of 784-256-128-64-10, batch
# 100, so 172 (AVX-512).
PANELS_AT_ONCE = min(6, CHAINS // PARTS)
# Panels of which columns can be summed in two ways: three vectors would wait for themselves.
IN_TWO_WAYS = FAR_PANELS if PARTS == 1 else 0
MOST_PANELS = max(PANELS_AT_ONCE, SCATTERED_PANELS)  # of a granule of sparse rows: a half of the columns has them all

# ---------------------------------------------------------------- dense tiles


def _shape(size: int) -> tuple[int, int]:
    """The rows and panels of a tile of a size: so many rows of one panel, or above 16 rows of two."""
    return (size, 1) if size <= PANEL else (size - PANEL, 2)


def panels_at(b: Any, pointer: Any, panels: int, jump: Any) -> list[Any]:
    """Pointers to a row in each of some panels."""
    return [at(b, pointer, b.mul(jump, word(p))) for p in range(panels)]


def heights(most: int) -> list[int]:
    """The rows of tiles: so many, and powers of two below, of which the last rows are put together.

    With one of each height compiling took 1 s longer for tiles by units, and about as much for those by samples.
    """
    return sorted({*(2**bit for bit in range(most.bit_length())), most} - {0})


def wide_heights(most: int) -> list[int]:
    """The rows of tiles by samples of two panels: equal shares of more than a half of `most` have these; and fewer."""
    return sorted({*heights(most // 2), *range(most // 2 + 1, most + 1)})


def _rows_at(b: Any, size: int, pointer: Any, step: Any, jump: Any) -> list[Any]:
    """Pointers to the vectors of a tile's rows, `step` floats apart, in panels `jump` apart."""
    rows, panels = _shape(size)
    starts = [at(b, pointer, b.mul(step, word(m))) for m in range(rows)]
    return [part for start in starts for row in panels_at(b, start, panels, jump) for part in row_of(b, row)]


def _add_products(b: Any, size: int, a: Any, apart: int, row: Any, jump: Any, old: list[Any]) -> list[Any]:
    """A tile's sums, and to each of its rows added: a factor, those at a stand `apart`, times the row of its panels."""
    rows, panels = _shape(size)
    right = [vector for part in panels_at(b, row, panels, jump) for vector in load(b, row_of(b, part))]
    new = []
    for m in range(rows):
        left = broadcast(b, b.load(at(b, a, apart * m)))
        new += [fma(b, left, vector, old[len(right) * m + v]) for v, vector in enumerate(right)]
    return new


def starts(b: Any, at_start: Any, pointers: list[Any]) -> list[Any]:
    """The vectors that a tile's sums start from: zeros, if there is no address of any.

    With a row of zeros, cleared before each call and read by it, epochs of 24-8-2 on two threads took 4% longer, and of
    784-300-10 on dense input 1.6. Not by the instructions: a tile alone, all in a first-level cache, takes as long so.
    """
    before, zero = b.block, ir.Constant(VECTOR, None)
    with b.if_then(b.icmp_unsigned("!=", at_start, ir.Constant(at_start.type, None))):
        read, there = load(b, pointers), b.block
    held = [b.phi(VECTOR) for _ in read]
    for phi, value in zip(held, read, strict=True):
        phi.add_incoming(zero, before)
        phi.add_incoming(value, there)
    return held


def _at_least(b: Any, x_least: Any, held: list[Any]) -> list[Any]:
    """Vectors whose values are at least so large; NaN is not below anything, and stays."""
    least = broadcast(b, x_least)
    return [b.select(b.fcmp_ordered("<", value, least), least, value) for value in held]


def finish(b: Any, sums: list[Any], out: list[Any], at_f: Any, places: list[Any], x_least: Any) -> None:
    """Store sums: times factors at `places`, if there are any, or what these tell of a ReLU; else at least so large."""
    with b.if_else(b.icmp_unsigned("!=", at_f, ir.Constant(at_f.type, None))) as (back, forward):
        with back:  # a factor is read when it is needed: no CPU has registers for the sums and all factors too
            zero = ir.Constant(VECTOR, None)
            with b.if_else(b.fcmp_ordered("==", x_least, ir.Constant(F32, 0))) as (by_sign, by_value):
                with by_sign:  # not a choice of the sum or 0, which would hide a NaN
                    for place, value, pointer in zip(places, sums, out, strict=True):
                        inactive = b.fcmp_unordered("<=", *load(b, [place]), zero)
                        store(b, [b.select(inactive, b.fmul(value, zero), value)], [pointer])
                with by_value:
                    for place, value, pointer in zip(places, sums, out, strict=True):
                        store(b, [b.fmul(*load(b, [place]), value)], [pointer])
        with forward:
            store(b, _at_least(b, x_least, sums), out)


def _tile_by_samples(b: Any, size: int, at_a: Any, jump: Any, at_w: Any, stride: Any, across: Any, depth: Any,
                     at_start: Any, step: Any, start_jump: Any, at_c: Any, c_jump: Any, at_f: Any, x_least: Any,
                     *coming: Any) -> None:  # fmt: skip
    rows, panels = _shape(size)
    together = TOGETHER if (rows + TOGETHER) * panels <= REGISTERS else 2  # else registers are spilled
    at_next, next_stride = coming or (None, None)

    def unit(a: Any, w: Any, old: list[Any]) -> list[Any]:
        return _add_products(b, size, a, PANEL, w, across, old)

    def panel(_: Any, inside: list[Any]) -> list[Any]:
        a, *held = inside

        def units(k: Any, inside: list[Any]) -> list[Any]:
            w, *held = inside
            for q in range(together):
                held = unit(at(b, a, b.add(k, word(q))), w, held)
                w = at(b, w, stride)
            return [w, *held]

        return [at(b, a, jump), *repeat(b, word(PANEL), together, held, units)]

    def fetching(_: Any, inside: list[Any]) -> list[Any]:
        coming, *held = inside
        for row in panels_at(b, coming, ROWS_FETCHED, next_stride):
            for p in range(panels):
                fetch(b, at(b, row, PANEL * p))
        return [at(b, coming, b.mul(next_stride, word(ROWS_FETCHED))), *panel(_, held)]

    def rest(_: Any, inside: list[Any]) -> list[Any]:
        a, w, *held = inside
        return [at(b, a, 1), at(b, w, stride), *unit(a, w, held)]

    whole = b.and_(depth, word(-PANEL))
    held = [at_a, at_w, *starts(b, at_start, _rows_at(b, size, at_start, step, start_jump))]
    held = repeat(b, whole, PANEL, [at_next, *held], fetching)[1:] if coming else repeat(b, whole, PANEL, held, panel)
    sums, out = repeat(b, b.sub(depth, whole), 1, held, rest)[2:], _rows_at(b, size, at_c, word(PANEL), c_jump)
    places = _rows_at(b, size, at_f, word(PANEL), c_jump)
    finish(b, sums, out, at_f, places, x_least)


def _tile_fetching(b: Any, size: int, *arguments: Any) -> None:
    _tile_by_samples(b, size, *arguments)  # a function of its own, as a family is called by its name


def _sum_by_units(b: Any, size: int, at_a: Any, at_d: Any, jump: Any, depth: Any, sums: list[Any]) -> list[Any]:
    """The vectors `sums` of a tile, and sum over i < depth of a[i, m] * d[i], whose panels are `jump` apart."""

    def sample(_: Any, inside: list[Any]) -> list[Any]:
        a, d, *old = inside
        return [at(b, a, PANEL), at(b, d, PANEL), *_add_products(b, size, a, 1, d, jump, old)]

    def samples(_: Any, inside: list[Any]) -> list[Any]:
        for _ in range(TOGETHER):
            inside = sample(_, inside)
        return inside

    whole = b.and_(depth, word(-TOGETHER))
    held = repeat(b, whole, TOGETHER, [at_a, at_d, *sums], samples)
    return repeat(b, b.sub(depth, whole), 1, held, sample)[2:]


def _tile_by_units(b: Any, size: int, at_a: Any, at_d: Any, jump: Any, depth: Any, at_start: Any, step: Any,
                   start_jump: Any, at_c: Any, c_step: Any, c_jump: Any) -> None:  # fmt: skip
    start = starts(b, at_start, _rows_at(b, size, at_start, step, start_jump))
    store(b, _sum_by_units(b, size, at_a, at_d, jump, depth, start), _rows_at(b, size, at_c, c_step, c_jump))


def _tile_descent(b: Any, size: int, at_a: Any, at_d: Any, jump: Any, depth: Any, at_start: Any, step: Any,
                  start_jump: Any, at_w: Any, stride: Any, across: Any, x_rate: Any) -> None:  # fmt: skip
    rows, rate = _rows_at(b, size, at_w, stride, across), broadcast(b, x_rate)
    start = starts(b, at_start, _rows_at(b, size, at_start, step, start_jump))
    steps = [b.fmul(rate, value, flags=CONTRACT) for value in _sum_by_units(b, size, at_a, at_d, jump, depth, start)]
    store(b, [b.fsub(old, value, flags=CONTRACT) for old, value in zip(load(b, rows), steps, strict=True)], rows)


# (size, a, jump, w, stride, across, depth, start, step, start_jump, c, c_jump, f, least): the Z of `size` samples by 16
# units, in one panel's rows c: start[m * step], if there is a start, + sum over k < depth of a[m, k] * w[k], a by
# panels, row k of w at k * stride; but at least `least`, which is 0 for a ReLU, else -infinity. Of PANEL + m samples:
# of m, by two panels, those of w `across` apart, of start `start_jump`, of c `c_jump`. On the way back there are
# factors f, in rows as those of c, which becomes f times the sum; if `least` is 0, f is what a ReLU has made: 1 times,
# where it is above 0. Nobody goes over the sums once more, and no factors of a ReLU are kept, in lines that another
# core has read. Epochs on two threads, batch 256 and 100: 32-64-64-4 20.7 ms, and so 20.1; 784-256-128-64-10 161 and
# 157 (an AMD server). With all factors read at once, most of them went to memory and back: the way back of 64-64 by 128
# samples took 37.3 thousand cycles, and 34.8 one by one.
_BY_SAMPLES = "at_a jump at_w stride across depth at_start step start_jump at_c c_jump at_f x_least"
_SAMPLES = [*heights(TILE_ROWS), *(PANEL + m for m in wide_heights(WIDE_ROWS))]
tile_by_samples = family(_BY_SAMPLES, _SAMPLES, _tile_by_samples)

# The same for the largest tiles, (..., next, next_stride): meanwhile rows of weights are fetched that come next,
# of panels side by side, ROWS_FETCHED with each panel of inputs. All at once, before a tile, they kept it waiting for
# what it reads itself: epochs of 784-800-800-10 and 784-2500-2000-... on two threads took 1.11 and 1.52 s, and so 1.06
# and 1.46.
FETCHING_ROWS = WIDE_ROWS - 1 if WIDTH > 1 else TILE_ROWS  # of such a tile at least
FETCHING_TILES = PANEL // ROWS_FETCHED  # so many at least fetch all rows of what comes next, but for one or a few
tile_fetching = family(f"{_BY_SAMPLES} at_next next_stride",
                       [PANEL * (WIDTH - 1) + rows for rows in range(FETCHING_ROWS, (WIDE_ROWS or TILE_ROWS) + 1)],
                       _tile_fetching)  # fmt: skip

# (size, a, d, jump, depth, start, step, start_jump, c, c_step, c_jump): for `size` units of a panel a the rows of a
# gradient: c[m * c_step] = start[m * step], if there is a start, + sum over i < depth of a[i, m] * d[i]. Of PANEL + m
# units: of m, by two panels, those of d `jump` apart, of start `start_jump`, of c `c_jump`.
_BY_UNITS = "at_a at_d jump depth at_start step start_jump at_c c_step c_jump"
tile_by_units = family(_BY_UNITS, [*heights(TILE_ROWS), *(PANEL + m for m in heights(WIDE_UNITS))], _tile_by_units)

# The same for 1, 2, 4 and, where there are registers, 8 rows: what suffices, and is a fraction to compile once more.
MOST_FEW = min(8, 2 ** (TILE_ROWS.bit_length() - 1))
_FEW = [PANEL * panels + 2**bit for panels in range(WIDTH) for bit in range(MOST_FEW.bit_length())]
few_by_samples = family(_BY_SAMPLES, _FEW, _tile_by_samples)
few_by_units = family(_BY_UNITS, _FEW, _tile_by_units)

# (size, a, d, jump, depth, start, step, start_jump, w, stride, across, rate): of 16 units by a panel, where that is one
# tile, or of WIDE_UNITS by two, the step of gradient descent at once: w[m * stride] -= rate * (start[m * step], if
# there is a start, + sum over i < depth of a[i, m] * d[i]). Epochs of 784-256-128-64-10, batch 100, on two threads: 163
# ms, so 157.
_DESCENDING = [PANEL] * (TILE_ROWS == PANEL) + [PANEL + WIDE_UNITS] * (WIDTH > 1)
tile_descent = family("at_a at_d jump depth at_start step start_jump at_w stride across x_rate", _DESCENDING,
                      _tile_descent)  # fmt: skip


# ---------------------------------------------------------------- sparse rows


def _each_list(b: Any, count: Any, at_int_first: Any, at_int_last: Any, step: Any, held: list[Any],
               turn: Callable[[Any, Any, list[Any]], list[Any]]) -> None:  # fmt: skip
    """For `count` lists: ``held = turn(where it begins, its length, held)``."""

    def one(i: Any, inside: list[Any]) -> list[Any]:
        place = b.mul(i, step)
        first, last = (b.zext(b.load(at(b, pointer, place)), WORD) for pointer in (at_int_first, at_int_last))
        return turn(first, b.sub(last, first), inside)

    repeat(b, count, 1, held, one)


def _pairs_from(b: Any, at_int_pairs: Any, first: Any) -> Any:
    """The pointer to the pairs of a list from place `first` on."""
    return b.bitcast(at(b, at_int_pairs, b.mul(first, word(2))), WORD.as_pointer())


def _pair(b: Any, pairs: Any, q: Any) -> tuple[Any, Any]:
    """Index and value of pair q, by one load: loads are what these loops wait for."""
    both = b.load(at(b, pairs, q))
    return b.and_(both, word(2**32 - 1)), b.bitcast(b.trunc(b.lshr(both, word(32)), I32), F32)


def _sum(b: Any, count: Any, pairs: Any, columns: list[Any], stride: Any, sums: list[Any],
         ways: int = 1) -> list[Any]:  # fmt: skip
    """The vectors `sums` + sum over q < count of the value of pair q times row index of a matrix, in this order.

    Few vectors would wait for themselves: the sums of `ways` rows in turn are kept apart, and added at the end.
    """
    width = len(sums)

    def add(q: Any, old: list[Any]) -> list[Any]:
        index, value = _pair(b, pairs, q)
        place, left = b.mul(index, stride), broadcast(b, value)
        right = [vector for column in columns for vector in load(b, row_of(b, at(b, column, place)))]
        return [fma(b, left, r, o) for r, o in zip(right, old, strict=True)]

    if ways == 1:
        return repeat(b, count, 1, sums, add)

    def turn(q: Any, held: list[Any]) -> list[Any]:
        parts = [add(b.add(q, word(way)), held[way * width : (way + 1) * width]) for way in range(ways)]
        return [vector for part in parts for vector in part]

    whole = b.and_(count, word(-ways))
    held = repeat(b, whole, ways, [*sums, *[ir.Constant(VECTOR, None)] * (width * (ways - 1))], turn)
    for way in range(1, ways):
        held[:width] = [b.fadd(held[v], held[way * width + v]) for v in range(width)]
    return repeat(b, b.sub(count, whole), 1, held[:width], lambda q, held: add(b.add(q, whole), held))


def _gather(b: Any, size: int, at_int_pairs: Any, at_int_first: Any, at_int_last: Any, step: Any, count: Any,
            at_matrix: Any, stride: Any, at_start: Any, start_step: Any, start_jump: Any, at_out: Any, out_jump: Any,
            x_least: Any = None, *, ways: int = 0) -> None:  # fmt: skip
    columns, zero = panels_at(b, at_matrix, size, word(PANEL)), ir.Constant(VECTOR, None)

    def turn(first: Any, length: Any, inside: list[Any]) -> list[Any]:
        start, out = inside
        rows = [pointer for row in panels_at(b, start, size, start_jump) for pointer in row_of(b, row)]
        pairs, sums = _pairs_from(b, at_int_pairs, first), load(b, rows)
        if ways:
            found = _sum(b, length, pairs, columns, stride, [zero] * len(sums), ways)
            sums = [b.fadd(o, v) for o, v in zip(sums, found, strict=True)]
        else:
            sums = _at_least(b, x_least, _sum(b, length, pairs, columns, stride, sums))
        store(b, sums, [pointer for row in panels_at(b, out, size, out_jump) for pointer in row_of(b, row)])
        return [at(b, start, start_step), at(b, out, PANEL)]

    _each_list(b, count, at_int_first, at_int_last, step, [at_start, at_out], turn)


def _gather_apart(b: Any, size: int, *arguments: Any) -> None:
    _gather(b, size % PANEL, *arguments, ways=2 if size < PANEL else 1)


def _column_sums(b: Any, size: int, at_int_pairs: Any, at_int_bounds: Any, count: Any, at_matrix: Any, jump: Any,
                 at_out: Any, stride: Any, x_rate: Any, *, descend: bool = False) -> None:  # fmt: skip
    panels, ways = size % PANEL, 2 if size < PANEL else 1
    columns, rate = panels_at(b, at_matrix, panels, jump), broadcast(b, x_rate)

    def turn(first: Any, length: Any, inside: list[Any]) -> list[Any]:
        (out,) = inside
        rows = [pointer for row in panels_at(b, out, panels, word(PANEL)) for pointer in row_of(b, row)]
        zeros = [ir.Constant(VECTOR, None)] * len(rows)
        sums = _sum(b, length, _pairs_from(b, at_int_pairs, first), columns, word(PANEL), zeros, ways)
        if descend:
            steps = [b.fmul(rate, value, flags=CONTRACT) for value in sums]
            sums = [b.fsub(old, value, flags=CONTRACT) for old, value in zip(load(b, rows), steps, strict=True)]
        store(b, sums, rows)
        return [at(b, out, stride)]

    _each_list(b, count, at_int_bounds, at(b, at_int_bounds, 1), word(1), [at_out], turn)


def _column_descent(b: Any, size: int, *arguments: Any) -> None:
    _column_sums(b, size, *arguments, descend=True)


def _scatter(b: Any, size: int, at_int_pairs: Any, at_int_first: Any, at_int_last: Any, step: Any, count: Any,
             at_rows: Any, jump: Any, at_matrix: Any, stride: Any, x_scale: Any) -> None:  # fmt: skip
    scale = broadcast(b, x_scale)

    def turn(first: Any, length: Any, inside: list[Any]) -> list[Any]:
        (row,) = inside
        held = [v for panel in panels_at(b, row, size, jump) for v in load(b, row_of(b, panel))]
        held, pairs = [b.fmul(v, scale) for v in held], _pairs_from(b, at_int_pairs, first)

        def add(q: Any, _: list[Any]) -> list[Any]:
            index, value = _pair(b, pairs, q)
            left, target = broadcast(b, value), at(b, at_matrix, b.mul(index, stride))
            pointers = [pointer for panel in panels_at(b, target, size, word(PANEL)) for pointer in row_of(b, panel)]
            store(b, [fma(b, left, r, o) for r, o in zip(held, load(b, pointers), strict=True)], pointers)
            return []

        repeat(b, length, 1, [], add)
        return [at(b, row, PANEL)]

    _each_list(b, count, at_int_first, at_int_last, step, [at_rows], turn)


# Lists of pairs, a column and its value: the part of a sample's that counts begins at first[step * i] and ends at
# last[step * i], for i < count.
# (size, pairs, first, last, step, count, matrix, stride, start, start_step, start_jump, out, out_jump, least):
# `size` panels of out = start + sum of value times row of the matrix, but at least `least`, as in tiles. A start's
# panels lie `start_jump` apart, those of out `out_jump`; the starts `start_step`. The second form, without a least,
# sums the rows from zero, those with even and odd numbers apart, and adds start at the end; or, where there are more
# panels, PANEL + m for m of them, all rows together.
_GATHER = ("at_int_pairs at_int_first at_int_last step count at_matrix stride at_start start_step start_jump "
            "at_out out_jump")  # fmt: skip
gather = family(f"{_GATHER} x_least", range(1, PANELS_AT_ONCE + 1), _gather)
_ONE_WAY = [PANEL + size for size in range(1, SCATTERED_PANELS + 1) if PANELS_APART < SCATTERED_PANELS]
gather_apart = family(_GATHER, [*range(1, PANELS_APART + 1), *_ONE_WAY], _gather_apart)

# (size, pairs, first, last, step, count, rows, jump, matrix, stride, scale): row index of the matrix += value *
# scale * the sample's row, in `size` panels `jump` apart.
scatter = family("at_int_pairs at_int_first at_int_last step count at_rows jump at_matrix stride x_scale",
                  range(1, MOST_PANELS + 1), _scatter)  # fmt: skip

# (size, pairs, bounds, count, matrix, jump, out, stride, rate): for `count` columns, whose samples, each with its value
# behind it, lie between `bounds`, the sum of value times row of the matrix, whose panels lie `jump` apart: row k of
# out, `stride` apart. Up to IN_TWO_WAYS panels: samples with even and odd numbers are summed apart, and added at the
# end; PANEL + m: of m panels, all together. The second form takes rate times the sum from what stands there: gradient
# descent at once. 256 samples by 25 panels, three at once, one thread (AVX-512): index and value by two loads 393 us,
# by one 376, in two ways too 368.
_COLUMNS = [*range(1, IN_TWO_WAYS + 1), *range(PANEL + 1, PANEL + PANELS_AT_ONCE + 1)]
_BY_COLUMNS = "at_int_pairs at_int_bounds count at_matrix jump at_out stride x_rate"
column_sums = family(_BY_COLUMNS, _COLUMNS, _column_sums)
column_descent = family(_BY_COLUMNS, _COLUMNS, _column_descent)


# ---------------------------------------------------------------- bits and raw memory


def _make_cast(source: Any, target: Any, convert: str) -> Callable[..., Any]:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return getattr(builder, convert)(args[0], context.get_value_type(target))

    return intrinsic(lambda context, value: (target(source), generate))


# An address as a pointer that can be indexed. Unlike an array it has no owner: each use of an owned array counts its
# references in memory that all threads share, which took longer than the arithmetic of 784-300-10.
floats = _make_cast(types.intp, types.CPointer(types.float32), "inttoptr")
doubles = _make_cast(types.intp, types.CPointer(types.float64), "inttoptr")
words = _make_cast(types.intp, types.CPointer(types.int64), "inttoptr")
ints = _make_cast(types.intp, types.CPointer(types.int32), "inttoptr")
