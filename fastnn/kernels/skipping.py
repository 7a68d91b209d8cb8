"""Products that skip zeros, by explicit SIMD: of what ReLUs have made about a half are, and so of their deltas.

A dense tile holds the sums of many rows, and a row of the other matrix serves all of them: there no zero of one row can
be skipped. Here the sums of one row by four panels are held, and for each of its values that is not zero, a bit in a
mask of 64, a row of the other matrix comes from a first-level cache. Both add the same products in the same order, but
for those by zero. So a sum of finite terms is the same number either way (a zero may have the other sign), and which
way a block of samples goes may depend on how many of its values are zero. Zero times infinity is NaN in a dense tile,
and nothing here: in nets with weights that are not finite, which a fit ends at, results may depend on the threads.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from fastnn.kernels import cpu
from fastnn.kernels.families import family
from fastnn.kernels.simd import finish, panels_at, starts
from fastnn.kernels.vectors import (
    I32,
    INTEGERS,
    LANES,
    PARTS,
    VECTOR,
    WORD,
    at,
    broadcast,
    fma,
    function,
    load,
    repeat,
    row_of,
    store,
    word,
)
from fastnn.layers import LANES as PANEL

SKIPPING = PARTS == 1 and cpu.name() in cpu.ONE_MULTIPLY_ADD  # elsewhere nobody has measured whether it pays
BITS = 64  # of a mask: inputs, or samples, that are multiplied at once
ABREAST = 4  # panels that are made at once, which a mask and a factor serve
HALF = 32  # bits of an integer


def _factor(b: Any, pointer: Any) -> Any:
    """The number at a pointer in all lanes.

    Loads are what these loops wait for, and one right into a vector takes as long as one of a whole vector. LLVM makes
    none of an atomic load, which is a load like any other on these CPUs: 64-64 by 128 samples took 6.9 us, and 6.4 so.
    """
    number = b.load_atomic(b.bitcast(pointer, I32.as_pointer()), "monotonic", 4)
    return b.bitcast(broadcast(b, number, INTEGERS), VECTOR)


def _nonzero(b: Any, vector: Any) -> Any:
    """Where a vector is not zero, NaN among it."""
    return b.fcmp_unordered("!=", vector, ir.Constant(VECTOR, None))


def _each_bit(b: Any, mask: Any, held: Sequence[Any], turn: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
    """``for k in the bits of mask: held = turn(k, held)``, from the lowest bit on; their last."""
    trailing = function(b, "llvm.cttz.i64", WORD, [WORD, ir.IntType(1)])
    entry, loop, done = b.block, b.append_basic_block("bits"), b.append_basic_block("done")
    b.cbranch(b.icmp_unsigned("!=", mask, word(0)), loop, done)
    b.position_at_end(loop)
    left, inside = b.phi(WORD), [b.phi(value.type) for value in held]
    later = turn(b.call(trailing, [left, ir.Constant(ir.IntType(1), 1)]), inside)
    rest, end = b.and_(left, b.sub(left, word(1))), b.block
    b.cbranch(b.icmp_unsigned("!=", rest, word(0)), loop, done)
    for phi, before, after in zip([left, *inside], [mask, *held], [rest, *later], strict=True):
        phi.add_incoming(before, entry)
        phi.add_incoming(after, end)
    b.position_at_end(done)
    results = [b.phi(value.type) for value in held]
    for phi, before, after in zip(results, held, later, strict=True):
        phi.add_incoming(before, entry)
        phi.add_incoming(after, end)
    return results


def _add_rows(b: Any, mask: Any, value_at: Callable[[Any], Any], columns: list[Any], stride: Any,
              sums: list[Any]) -> list[Any]:  # fmt: skip
    """The vectors `sums`, and for each k of a mask a value times row k of a matrix added, its panels at `columns`."""

    def turn(k: Any, held: list[Any]) -> list[Any]:
        left, place = _factor(b, value_at(k)), b.mul(k, stride)
        right = [vector for column in columns for vector in load(b, row_of(b, at(b, column, place)))]
        return [fma(b, left, vector, old) for vector, old in zip(right, held, strict=True)]

    return _each_bit(b, mask, sums, turn)


def _rows(b: Any, pointer: Any, jump: Any) -> list[Any]:
    """Pointers to the vectors of a row of all panels, which are `jump` apart."""
    return [part for panel in panels_at(b, pointer, ABREAST, jump) for part in row_of(b, panel)]


def _by_samples(b: Any, size: int, at_a: Any, jump: Any, at_w: Any, stride: Any, across: Any, depth: Any,
                at_start: Any, step: Any, start_jump: Any, count: Any, at_c: Any, c_jump: Any, at_f: Any,
                x_least: Any) -> None:  # fmt: skip
    columns, extra = panels_at(b, at_w, ABREAST, across), b.sub(jump, word(PANEL))
    there = b.lshr(word(-1), b.sub(word(BITS), depth))
    # where there are fewer panels, the first is read once more, and none of its bits counts
    places = [b.select(b.icmp_signed("<", word(PANEL * p), depth), b.mul(jump, word(p)), word(0))
              for p in range(BITS // PANEL)]  # fmt: skip

    def sample(_: Any, inside: list[Any]) -> list[Any]:
        a, start, c, f = inside
        mask = word(0)
        for p, place in enumerate(places):
            for part, vector in enumerate(load(b, row_of(b, at(b, a, place)))):
                bits = b.zext(b.bitcast(_nonzero(b, vector), ir.IntType(LANES)), WORD)
                mask = b.or_(mask, b.shl(bits, word(PANEL * p + LANES * part)))

        def value_at(k: Any) -> Any:
            return at(b, a, b.add(k, b.mul(b.lshr(k, word(PANEL.bit_length() - 1)), extra)))

        sums = starts(b, at_start, _rows(b, start, start_jump))
        sums = _add_rows(b, b.and_(mask, there), value_at, columns, stride, sums)
        finish(b, sums, _rows(b, c, c_jump), at_f, _rows(b, f, c_jump), x_least)
        return [at(b, a, PANEL), at(b, start, step), at(b, c, PANEL), at(b, f, PANEL)]

    repeat(b, count, 1, [at_a, at_start, at_c, at_f], sample)


# (1, a, jump, w, stride, across, depth, start, step, start_jump, count, c, c_jump, f, least): as `tile_by_samples` of
# kernels/simd.py, but of `count` samples by four panels, and of no more than 64 units of a.
skip_by_samples = family("at_a jump at_w stride across depth at_start step start_jump count at_c c_jump at_f x_least",
                         [1], _by_samples)  # fmt: skip


def _by_units(b: Any, size: int, at_a: Any, at_d: Any, jump: Any, depth: Any, rows: Any, at_start: Any, at_c: Any,
              c_step: Any, c_jump: Any) -> None:  # fmt: skip
    columns, none = panels_at(b, at_d, ABREAST, jump), ir.Constant(INTEGERS, None)
    with b.goto_entry_block():
        masks = b.alloca(I32, size=2 * PANEL)
    # bit i of the two integers of a unit is that of sample i: so each sample sets bits of all units
    for half in range(2):
        first = at(b, at_a, HALF * half * PANEL)
        count = b.sub(depth, word(HALF * half))
        count = b.select(b.icmp_signed("<", count, word(HALF)), count, word(HALF))

        def sample(_: Any, inside: list[Any]) -> list[Any]:
            a, bit, *found = inside
            vectors = load(b, row_of(b, a))
            bits = [b.select(_nonzero(b, vector), bit, none) for vector in vectors]
            return [at(b, a, PANEL), b.add(bit, bit), *(b.or_(o, n) for o, n in zip(found, bits, strict=True))]

        one = ir.Constant(INTEGERS, [1] * LANES)
        for part, value in enumerate(repeat(b, count, 1, [first, one, *[none] * PARTS], sample)[2:]):
            place = at(b, masks, half * PANEL + part * LANES)
            b.store(value, b.bitcast(place, INTEGERS.as_pointer()), align=4)

    def unit(m: Any, inside: list[Any]) -> list[Any]:
        a, start, c = inside
        low, high = (b.zext(b.load(at(b, masks, b.add(m, word(half * PANEL)))), WORD) for half in range(2))
        mask, out = b.or_(low, b.shl(high, word(HALF))), _rows(b, c, c_jump)
        sums = starts(b, at_start, _rows(b, start, c_jump))
        sums = _add_rows(b, mask, lambda i: at(b, a, b.mul(i, word(PANEL))), columns, word(PANEL), sums)
        store(b, sums, out)
        return [at(b, a, 1), at(b, start, c_step), at(b, c, c_step)]

    repeat(b, rows, 1, [at_a, at_start, at_c], unit)


# (1, a, d, jump, depth, rows, start, c, c_step, c_jump): as `tile_by_units`, but for `rows` units of a panel a, by four
# panels of d, of no more than 64 samples; the rows of start, if there is any, lie as those of c.
skip_by_units = family("at_a at_d jump depth rows at_start at_c c_step c_jump", [1], _by_units)
