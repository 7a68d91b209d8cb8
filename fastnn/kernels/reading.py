"""Rows of the data, by explicit SIMD: all their values spread into panels, or transposed."""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from fastnn.kernels.families import family
from fastnn.kernels.panels import BYTE, fetch
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
    joined,
    load_some,
    repeat,
    row_of,
    transposed,
    word,
)
from fastnn.layers import LANES as PANEL

BYTES, FLOATS, ALIKE, LISTS = range(4)  # what rows are of; ALIKE: bytes of one scale
LINE = 64  # bytes
MOST = 4096  # bytes of a row that are fetched ahead


def _taken(b: Any, pointer: Any, kind: Any, there: Any) -> Any:
    """The vector at a pointer; of those lanes that are there, if not of all."""
    size = 4 if kind.element is F32 else 1
    pointer = b.bitcast(pointer, kind.as_pointer())
    return b.load(pointer, align=size) if there is None else load_some(b, pointer, size, there)


def _scaled(b: Any, value: Any, scale: Any, shift: Any, there: Any, other: Any) -> Any:
    """scale * value + shift; `other` in lanes that are not there."""
    value = b.fadd(b.fmul(value, scale, flags=CONTRACT), shift, flags=CONTRACT)
    return value if there is None else b.select(there, value, other)


def _fetching(b: Any, x: Any, size: Any, order: Any, later: Any) -> Callable[[Any], Any]:
    """What tells the address of the row at a place of the order, and meanwhile fetches the one `later` there."""
    longest = b.select(b.icmp_signed("<", size, word(MOST)), size, word(MOST))
    behind = at(b, order, later)

    def find(place: Any) -> Any:
        row, to_come = (at(b, x, b.mul(b.load(at(b, begin, place)), size)) for begin in (order, behind))

        def line(k: Any, _: list[Any]) -> list[Any]:
            fetch(b, at(b, to_come, k))
            return []

        repeat(b, longest, LINE, [], line)
        return row

    return find


def _spread(b: Any, floats: int, at_x: Any, size: Any, at_order: Any, samples: Any, later: Any, at_scale: Any,
            at_shift: Any, count: Any, at_to: Any, jump: Any) -> None:  # fmt: skip
    raw, lanes = VECTOR if floats else ir.VectorType(BYTE, LANES), ir.VectorType(I32, LANES)
    bytes_ = b.bitcast(at_x, BYTE.as_pointer())
    find = _fetching(b, bytes_, size, b.bitcast(at_order, WORD.as_pointer()), later)

    def row(x: Any, k: Any, to: Any, left: Any = None) -> None:
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

    whole = b.and_(count, word(-PANEL))
    left = b.sub(count, whole)

    def sample(place: Any, inside: list[Any]) -> list[Any]:
        x, (begin,) = b.bitcast(find(place), at_x.type if floats else bytes_.type), inside

        def panel(k: Any, inside: list[Any]) -> list[Any]:
            row(x, k, inside[0])
            return [at(b, inside[0], jump)]

        (to,) = repeat(b, whole, PANEL, [begin], panel)
        with b.if_then(b.icmp_signed(">", left, word(0))):
            row(x, whole, to, b.trunc(left, I32))
        return [at(b, begin, PANEL)]

    repeat(b, samples, 1, [at_to], sample)


COLUMNS = min(8, LANES)  # of a block that is transposed at once


def _turn(b: Any, floats: int, at_x: Any, size: Any, at_order: Any, samples: Any, later: Any, at_scale: Any,
          at_shift: Any, count: Any, at_to: Any) -> None:  # fmt: skip
    wide, narrow = ir.VectorType(F32, COLUMNS), ir.VectorType(I32, COLUMNS)
    kind = wide if floats else ir.VectorType(BYTE, COLUMNS)
    x, order = b.bitcast(at_x, BYTE.as_pointer()), b.bitcast(at_order, WORD.as_pointer())
    find = _fetching(b, x, size, order, later)
    # in memory, as no CPU has so many registers; and rows one by one, which a compiler keeps in few
    rows = b.alloca(x.type, PANEL)

    def keep(m: Any, _: list[Any]) -> list[Any]:
        row = find(m)
        b.store(row, at(b, rows, m))
        return [row]

    def stand_in(m: Any, _: list[Any]) -> list[Any]:
        b.store(last, at(b, rows, b.add(m, samples)))
        return []

    (last,) = repeat(b, samples, 1, [x], keep)
    repeat(b, b.sub(word(PANEL), samples), 1, [], stand_in)

    def twice(values: Sequence[Any]) -> list[Any]:
        """Vectors that are half as long as the CPU's: the second half of them behind the first."""
        halves = values[: len(values) // 2], values[len(values) // 2 :]
        return [joined(b, pair) for pair in zip(*halves, strict=True)]

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

# (floats, x, size, order, samples, later, scale, shift, count, to, jump): scale * x + shift of the `samples` rows of x,
# `size` bytes each, whose numbers are at `order`, bytes or floats: each into the panels of a sample, one behind the
# other. In the rest of the last panel, if it has one, follow 1, the input that a bias is the weight of, and zeros. Rows
# that stand `later` in the order are fetched.
spread = family("at_x size at_order samples later at_scale at_shift count at_to jump", range(2), _spread)
